// The benchmark's node over js-libp2p: see ../../README.md for its flags and what it prints.

import { quic } from '@chainsafe/libp2p-quic'
import { readFileSync, writeSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import { mplex } from '@libp2p/mplex'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { plaintext } from '@libp2p/plaintext'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const PERF = '/perf/1.0.0'
const ECHO = '/bench/echo/1.0.0'
const HOLD = '/bench/hold/1.0.0'
// A limit that refuses is not what is measured.
const MANY = 1_000_000
const LIMITS = { maxInboundStreams: MANY, maxOutboundStreams: MANY }
const SECURITIES = { noise, plaintext, tls }
const MUXERS = { mplex, yamux }
// Moved before anything is measured.
const WARM_UP = 8 << 20
// USER_HZ: 100 on every Linux.
const TICKS = 100

const { positionals: [command], values: options } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: Object.fromEntries(Object.entries({
    stack: 'tcp+noise+yamux', addr: '/ip4/127.0.0.1/tcp/0', behaviours: 'min', threads: '1',
    'max-streams': '', mss: 'lazy', runtime: 'node', chunk: '64k', 'listener-pid': '', job: 'bulk',
    streams: '1', bytes: '1g', dir: 'up,down', n: '', concurrency: '', ready: 'first-byte',
    inflight: '1', size: '', 'rtt-ms': '50', conns: '1', settle: '5', idle: '0'
  }).map(([name, value]) => [name, { type: 'string', default: value }]))
})
const chunk = size(options.chunk)
const listenerPid = options['listener-pid']

/** A number of bytes: 100, 64k, 256m, 1g. */
function size (text) {
  const shift = { k: 10, m: 20, g: 30 }[text.at(-1)] ?? 0
  return Number.parseInt(text) * 2 ** shift
}

const or = (text, otherwise) => text === '' ? otherwise : Number(text)

function say (line) {
  writeSync(1, JSON.stringify(line) + '\n')
}

/** Identify runs always, as it does in every node of js-libp2p that is set up by its guide. */
async function createNode (listen = []) {
  const stack = options.stack.split('+')
  const upgrades = options.stack === 'quic'
    ? { transports: [quic()] }
    : {
        transports: [tcp()],
        connectionEncrypters: [SECURITIES[stack[1]]()],
        streamMuxers: [MUXERS[stack[2]]({ maxEarlyStreams: MANY, maxInboundStreams: MANY, maxOutboundStreams: MANY })]
      }
  return createLibp2p({
    ...upgrades,
    privateKey: await generateKeyPair('Ed25519'),
    addresses: { listen },
    connectionManager: {
      inboundConnectionThreshold: MANY,
      maxConnections: MANY,
      maxIncomingPendingConnections: MANY,
      maxParallelDials: MANY
    },
    services: { identify: identify(), ...(options.behaviours === 'min' ? {} : { ping: ping() }) }
  })
}

async function listen () {
  const node = await createNode([options.addr])
  const serve = handler => async stream => {
    try {
      await handler(stream)
    } catch (error) {
      stream.abort(error)
    }
  }
  await node.handle(PERF, serve(servePerf), LIMITS)
  await node.handle(ECHO, serve(serveEcho), LIMITS)
  await node.handle(HOLD, serve(async stream => { await drain(stream); await stream.close() }), LIMITS)
  say({ listening: node.getMultiaddrs()[0].toString(), pid: process.pid })
}

/**
 * All data, then the end. The stream's own iterator waits forever if the remote's end came before
 * it was asked.
 */
async function * chunks (stream) {
  const queue = []
  let failure
  let wake = () => {}
  const onMessage = ({ data }) => { queue.push(data); wake() }
  const onEnd = ({ error }) => { failure ??= error; wake() }
  stream.addEventListener('message', onMessage)
  stream.addEventListener('remoteCloseWrite', onEnd)
  stream.addEventListener('close', onEnd)
  try {
    while (true) {
      while (queue.length > 0) {
        yield queue.shift()
      }
      if (failure != null) {
        throw failure
      }
      if (stream.remoteWriteStatus === 'closed' && stream.readBufferLength === 0) {
        return
      }
      await new Promise(resolve => { wake = resolve })
    }
  } finally {
    stream.removeEventListener('message', onMessage)
    stream.removeEventListener('remoteCloseWrite', onEnd)
    stream.removeEventListener('close', onEnd)
  }
}

async function send (stream, data) {
  if (!stream.send(data)) {
    await stream.onDrain()
  }
}

async function drain (stream) {
  let total = 0
  for await (const data of chunks(stream)) {
    total += data.byteLength
  }
  return total
}

async function write (stream, bytes) {
  const block = new Uint8Array(chunk)
  for (let left = bytes; left > 0; left -= chunk) {
    await send(stream, left < chunk ? block.subarray(0, left) : block)
  }
}

async function servePerf (stream) {
  const head = []
  let got = 0
  for await (const data of chunks(stream)) {
    if (got < 8) {
      head.push(data.subarray())
    }
    got += data.byteLength
  }
  const bytes = Buffer.concat(head)
  await write(stream, Number(bytes.readBigUInt64BE(0)))
  await stream.close()
}

async function serveEcho (stream) {
  for await (const data of chunks(stream)) {
    await send(stream, data)
  }
  await stream.close()
}

function status (pid, line) {
  const text = readFileSync(`/proc/${pid || 'self'}/status`, 'utf8')
  return Number(text.match(new RegExp(`^${line}:\\s+(\\d+)`, 'm'))?.[1] ?? 0) * 1024
}

function cpuSeconds (pid) {
  // The name may hold spaces; what follows its bracket does not.
  const fields = readFileSync(`/proc/${pid || 'self'}/stat`, 'utf8').split(') ').at(-1).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

/** Counts the time of both ends from now. */
function meter () {
  const both = () => [cpuSeconds(''), listenerPid === '' ? 0 : cpuSeconds(listenerPid)]
  const [dialer, listener] = both()
  const started = performance.now()
  return () => {
    const wall = (performance.now() - started) / 1000
    const now = both()
    return { wall, dialer: now[0] - dialer, listener: now[1] - listener }
  }
}

const round = value => Number(value.toPrecision(4))

function percentiles (samples) {
  samples.sort((a, b) => a - b)
  const at = share => round(samples[Math.min(Math.floor(samples.length * share), samples.length - 1)] * 1000)
  return { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99) }
}

function report (read, samples, rate, cpu) {
  const { wall, dialer, listener } = read()
  return {
    [rate]: round(samples.length / wall),
    [cpu]: round((dialer + listener) * 1e6 / samples.length),
    latency: percentiles(samples)
  }
}

const address = () => multiaddr(options.addr)

/** Runs `workers` of `work` until `count` pieces are done; returns what each took, in ms. */
async function inParallel (workers, count, work) {
  const samples = []
  let left = count
  await Promise.all(Array.from({ length: workers }, async (_, index) => {
    while (left-- > 0) {
      const started = performance.now()
      const took = await work(index)
      samples.push(took ?? performance.now() - started)
    }
  }))
  return samples
}

async function open (connection, protocol) {
  return connection.newStream(protocol, { maxOutboundStreams: MANY })
}

/** Writes a question, ends, and expects the same back. */
async function ask (connection, question) {
  const stream = await open(connection, ECHO)
  const answer = drain(stream)
  await send(stream, question)
  await stream.close()
  const got = await answer
  if (got !== question.length) {
    throw new Error(`asked ${question.length} bytes, got ${got} back`)
  }
}

async function once (node) {
  const started = performance.now()
  const connection = await node.dial(address())
  if (options.ready === 'first-byte') {
    await ask(connection, new Uint8Array(1))
  }
  const took = performance.now() - started
  await connection.close()
  return took
}

async function move (connection, dir, bytes) {
  const share = Math.floor(bytes / Number(options.streams))
  await inParallel(Number(options.streams), Number(options.streams), async () => {
    const stream = await open(connection, PERF)
    const head = Buffer.alloc(8)
    const [out, back] = dir === 'up' ? [share, 0] : [0, share]
    head.writeBigUInt64BE(BigInt(back))
    const answer = drain(stream)
    await send(stream, head)
    await write(stream, out)
    await stream.close()
    const got = await answer
    if (got !== back) {
      throw new Error(`got ${got} bytes of ${back}`)
    }
  })
}

const JOBS = {
  async bulk () {
    const connection = await (await createNode()).dial(address())
    const bytes = size(options.bytes)
    const said = {}
    for (const dir of ['up', 'down'].filter(dir => options.dir.includes(dir))) {
      await move(connection, dir, Math.min(WARM_UP, bytes / 8))
      const read = meter()
      await move(connection, dir, bytes)
      const { wall, dialer, listener } = read()
      const gib = bytes / 2 ** 30
      said[dir] = {
        gib_s: round(gib / wall),
        cpu_s_per_gib: round((dialer + listener) / gib),
        cpu_dialer: round(dialer / gib),
        cpu_listener: round(listener / gib)
      }
    }
    return said
  },
  async conn () {
    const workers = or(options.concurrency, 1)
    const nodes = []
    for (let made = 0; made < workers; made++) {
      nodes.push(await createNode())
      // The first connection pays for what is made once.
      await once(nodes.at(-1))
    }
    const read = meter()
    const samples = await inParallel(workers, or(options.n, 1000), index => once(nodes[index]))
    return report(read, samples, 'conn_s', 'cpu_us_per_conn')
  },
  async rpc () {
    const connection = await (await createNode()).dial(address())
    const count = or(options.n, 20_000)
    const question = new Uint8Array(or(options.size, 100))
    const work = () => ask(connection, question)
    await inParallel(Number(options.inflight), Math.floor(count / 20) + 1, work)
    const read = meter()
    const samples = await inParallel(Number(options.inflight), count, work)
    return report(read, samples, 'req_s', 'cpu_us_per_req')
  },
  async pingpong () {
    const connection = await (await createNode()).dial(address())
    const stream = await open(connection, ECHO)
    const answers = chunks(stream)
    const question = new Uint8Array(or(options.size, 32))
    const count = or(options.n, 20_000)
    const work = async () => {
      const answer = answers.next()
      await send(stream, question)
      let got = (await answer).value.byteLength
      while (got < question.length) {
        got += (await answers.next()).value.byteLength
      }
    }
    await inParallel(1, Math.floor(count / 20) + 1, work)
    const read = meter()
    return report(read, await inParallel(1, count, work), 'req_s', 'cpu_us_per_req')
  },
  async 'first-byte' () {
    const steps = { established: [], first_byte: [], second_stream: [] }
    for (let turn = 0; turn < or(options.n, 5); turn++) {
      const node = await createNode()
      const started = performance.now()
      const connection = await node.dial(address())
      steps.established.push(performance.now() - started)
      await ask(connection, new Uint8Array(1))
      steps.first_byte.push(performance.now() - started)
      const again = performance.now()
      await ask(connection, new Uint8Array(1))
      steps.second_stream.push(performance.now() - again)
      await node.stop()
    }
    return Object.fromEntries(Object.entries(steps).map(([name, samples]) => {
      const ms = samples.sort((a, b) => a - b)[Math.floor(samples.length / 2)]
      return [name, { ms: round(ms), rtts: round(ms / Number(options['rtt-ms'])) }]
    }))
  },
  async 'idle-conns' () {
    const count = or(options.n, 1000)
    const connect = async () => {
      const connection = await (await createNode()).dial(address())
      await ask(connection, new Uint8Array(1))
      return connection
    }
    for (let made = 0; made < 20; made++) {
      await (await connect()).close()
    }
    await sleep(1)
    const before = status(listenerPid, 'RssAnon')
    const held = []
    await inParallel(or(options.concurrency, 50), count, async () => { held.push(await connect()) })
    await sleep(Number(options.settle))
    const after = status(listenerPid, 'RssAnon')
    const read = meter()
    await sleep(Number(options.idle))
    const { wall, listener } = read()
    return {
      listener_bytes_per_conn: round((after - before) / held.length),
      idle_cpu: round(listener / Math.max(wall, 0.001))
    }
  },
  async 'idle-streams' () {
    const count = or(options.n, 10_000)
    const held = []
    while (held.length < Number(options.conns)) {
      held.push(await (await createNode()).dial(address()))
      await ask(held.at(-1), new Uint8Array(1))
    }
    await sleep(Number(options.settle))
    const before = [status(listenerPid, 'RssAnon'), status('', 'RssAnon')]
    const streams = []
    while (streams.length < count) {
      const connection = held[streams.length % held.length]
      const stream = await open(connection, HOLD)
      await send(stream, new Uint8Array(1))
      streams.push(stream)
      // The listener has to keep up: a backlog is not what is measured.
      if (streams.length % 32 === 0) {
        await ask(connection, new Uint8Array(1))
      }
    }
    await sleep(Number(options.settle))
    const each = (pid, before) => round((status(pid, 'RssAnon') - before) / count)
    return {
      listener_bytes_per_stream: each(listenerPid, before[0]),
      dialer_bytes_per_stream: each('', before[1])
    }
  }
}

const sleep = seconds => new Promise(resolve => setTimeout(resolve, seconds * 1000))

if (command === 'listen') {
  await listen()
} else {
  const said = await JOBS[options.job]()
  said.dialer_peak_mib = round(status('', 'VmHWM') / 2 ** 20)
  if (listenerPid !== '') {
    said.listener_peak_mib = round(status(listenerPid, 'VmHWM') / 2 ** 20)
  }
  say(said)
  process.exit(0)
}
