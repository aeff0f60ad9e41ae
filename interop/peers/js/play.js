// The tests of streams and connections, and `play`, where the first byte says what to do.

import {
  ECHO, ECHO_BYTES, LIMITS, PERF, aborted, ask, basics, checkPattern, chunks, echoOn, echoOnce,
  exchange, guarded, millis, readPattern, send, serveBasics, writePattern
} from './protocols.js'

const PLAY = '/p2p-interop/play/1.0.0'
const ADDED = '/p2p-interop/added/1.0.0'

const SAID = 1_000
const STREAMS = 200
const STREAM_BYTES = 100
const SLOW_BYTES = 2_000_000
const FAST = 8
const BIG_BYTES = 50_000_000
const MINUTE = 60
const IDLE_SECONDS = 120
// How long an end of a connection, or a push, may take.
const NOTICE_MS = 20_000
// How long the disappearance of a process may take over QUIC, where only silence tells of it.
const SILENCE_MS = 50_000
// Connections that have ended before `x` ends the program.
const ENDS_BEFORE_EXIT = 2

/** Answers what the tests ask for. */
export async function serve (node, event) {
  await serveBasics(node, event)
  let ends = 0
  node.addEventListener('connection:close', ({ detail }) => {
    ends++
    event('disconnected', { peer: detail.remotePeer.toString() })
  })
  const handler = (stream, connection) => play({ node, stream, connection, event, ends: () => ends })
  await node.handle(PLAY, async (stream, connection) => {
    await guarded('play', stream => handler(stream, connection))(stream)
  }, LIMITS)
}

export const tests = {
  ...basics,
  big: testBig,
  close: testClose,
  idle: testIdle,
  minute: testMinute,
  orders: testOrders,
  push: testPush,
  reset: testReset,
  slow: testSlow,
  streams: testStreams
}

/** What interop/README.md says of the first byte. */
async function play ({ node, stream, connection, event, ends }) {
  const reader = new Reader(stream)
  const command = String.fromCharCode(...await reader.take(1))
  const endFirst = async size => {
    const reading = reader.readPattern()
    reading.catch(() => {}) // Waited for below; it may fail while we still write.
    await writePattern(stream, size)
    await stream.close()
    event('ended', { order: command, received: await reading })
  }
  switch (command) {
    case 'a':
      event('ended', { order: command, received: await reader.readPattern() })
      await writePattern(stream, SAID)
      return stream.close()
    case 'f':
      return endFirst(SAID)
    case 'n':
      return endFirst(0)
    case 'w':
      await send(stream, Uint8Array.of(command.charCodeAt(0)))
      return event('reset', await saw(() => reader.rest()))
    case 'r':
      await reader.take(4)
      return stream.abort(new Error('asked to reset'))
    case 'p':
      await addProtocol(node)
      return stream.close()
    case 'q':
      return connection.close()
    case 'x':
      await until(() => ends() >= ENDS_BEFORE_EXIT).catch(console.error)
      return process.exit(0)
    default:
      throw new Error(`no such play: ${command}`)
  }
}

/** A stream that is first read by the byte, then by the piece. */
class Reader {
  constructor (stream) {
    this.chunks = chunks(stream)
    this.left = new Uint8Array(0)
  }

  /** Exactly so many bytes. */
  async take (size) {
    while (this.left.length < size) {
      const { done, value } = await this.chunks.next()
      if (done) {
        throw new Error(`ended after ${this.left.length} of ${size} bytes`)
      }
      this.left = Buffer.concat([this.left, value.subarray()])
    }
    const taken = this.left.subarray(0, size)
    this.left = this.left.subarray(size)
    return taken
  }

  /** Checks what is left to the end; returns how many bytes there were. */
  async readPattern () {
    let received = checkPattern(this.left, 0)
    for await (const chunk of this.chunks) {
      received = checkPattern(chunk.subarray(), received)
    }
    return received
  }

  /** Reads to the end. */
  async rest () {
    for await (const _ of this.chunks) {}
  }
}

/** How a stream ended that should have been reset. */
async function saw (read) {
  try {
    await read()
    return { saw: 'end' }
  } catch (error) {
    return { saw: error.name === 'StreamResetError' ? 'reset' : `${error.name}: ${error.message}` }
  }
}

async function addProtocol (node) {
  await node.handle(ADDED, async stream => { await stream.close() })
}

/** Waits for something that has no event of its own. */
async function until (condition, within = NOTICE_MS) {
  const late = performance.now() + within
  while (!condition()) {
    if (performance.now() > late) {
      throw new Error('not noticed in time')
    }
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

/** A stream on which the other end was told what to do. */
async function playStream ({ connection, signal }, command, ...more) {
  const stream = await connection.newStream(PLAY, { signal })
  await send(stream, Uint8Array.of(command.charCodeAt(0), ...more), signal)
  return stream
}

/** Half-closes in every order, one stream each. */
async function testOrders (session) {
  const started = performance.now()
  const orders = { after: weFirst, both, first: theyFirst('f'), nothing: theyFirst('n'), empty }
  const fields = {}
  for (const [name, run] of Object.entries(orders)) {
    fields[name] = await Promise.race([run(session), aborted(session.signal, `orders: ${name}`)])
  }
  session.event('orders', { ...fields, ms: millis(performance.now() - started) })
}

async function weFirst (session) {
  const stream = await playStream(session, 'a')
  await writePattern(stream, SAID)
  await stream.close()
  return readPattern(stream)
}

async function both (session) {
  const stream = await playStream(session, 'f')
  const reading = readPattern(stream)
  await writePattern(stream, SAID)
  await stream.close()
  return reading
}

function theyFirst (command) {
  return async session => {
    const stream = await playStream(session, command)
    const received = await readPattern(stream)
    await writePattern(stream, SAID)
    await stream.close()
    return received
  }
}

async function empty ({ connection, signal }) {
  const stream = await connection.newStream(ECHO, { signal, ...LIMITS })
  await stream.close()
  return readPattern(stream)
}

/** A reset from either side, and a sign of life after. */
async function testReset (session) {
  const { connection, signal, event } = session
  const ours = await playStream(session, 'w')
  await new Reader(ours).take(1)
  ours.abort(new Error('to be seen'))
  const theirs = await playStream(session, 'r', 0, 0, 0, 0)
  const fields = await Promise.race([saw(() => readPattern(theirs)), aborted(signal)])
  await echoOnce(connection, signal, STREAM_BYTES)
  event('reset', fields)
}

async function testStreams ({ connection, signal, event }) {
  const started = performance.now()
  const streams = await Promise.all(Array.from({ length: STREAMS }, async () =>
    connection.newStream(ECHO, { signal, ...LIMITS })
  ))
  await Promise.all(streams.map(async stream => echoOn(stream, signal, STREAM_BYTES)))
  event('streams', { streams: STREAMS, ms: millis(performance.now() - started) })
}

/** Asks for a download and reads it only after the echoes beside it. */
async function testSlow ({ connection, signal, event }) {
  const slow = await connection.newStream(PERF, { signal })
  await ask(slow, SLOW_BYTES, signal)
  await slow.close({ signal })
  const started = performance.now()
  for (let i = 0; i < FAST; i++) {
    await echoOnce(connection, signal)
  }
  const fields = { fast: FAST, fast_ms: millis(performance.now() - started), slow: 0 }
  const ended = await saw(async () => {
    fields.slow = await Promise.race([readPattern(slow), aborted(signal)])
  })
  event('slow', { ...fields, ...ended })
}

async function testBig ({ connection, signal, event }) {
  const { up } = await exchange(connection, signal, BIG_BYTES, 0)
  const { down } = await exchange(connection, signal, 0, BIG_BYTES)
  const started = performance.now()
  await Promise.all([
    exchange(connection, signal, BIG_BYTES, 0),
    exchange(connection, signal, 0, BIG_BYTES)
  ])
  event('big', {
    up: BIG_BYTES,
    down: BIG_BYTES,
    both: 2 * BIG_BYTES,
    up_ms: millis(up),
    down_ms: millis(down),
    both_ms: millis(performance.now() - started)
  })
}

/** They close, then we do, then they are gone without a word. */
async function testClose (session) {
  const { redial, event, identified } = session
  let { connection } = session
  // A connection that ends while identify is under way ends the process of js: it throws where
  // nobody catches.
  await identified
  // Or `aborted`, if we were writing when it ended.
  const ended = async within => until(() => !['open', 'closing'].includes(connection.status), within)
  await playStream({ ...session, connection }, 'q')
  await ended()
  connection = await redial()
  // Before it the other end may not know of the connection yet.
  await echoOnce(connection, session.signal, STREAM_BYTES)
  await connection.close()
  await ended()
  connection = await redial()
  await playStream({ ...session, connection }, 'x')
  const silent = connection.remoteAddr.toString().includes('/quic-v1')
  await ended(silent ? SILENCE_MS : NOTICE_MS)
  event('close', { ends: 3 })
}

/** They add a protocol and tell us, then the other way round. */
async function testPush (session) {
  const { node, identified, pushes, stdinClosed } = session
  await identified
  const stream = await playStream(session, 'p')
  await readPattern(stream)
  await until(() => pushes.some(({ protocols }) => protocols.includes(ADDED)))
  await addProtocol(node)
  await Promise.race([stdinClosed(), new Promise(resolve => setTimeout(resolve, NOTICE_MS))])
}

async function testMinute ({ node, connection, signal, event }) {
  let worst = 0
  for (let i = 0; i < MINUTE; i++) {
    worst = Math.max(worst, await node.services.ping.ping(connection.remotePeer, { signal }))
    await new Promise(resolve => setTimeout(resolve, 1_000))
  }
  event('minute', { pings: MINUTE, worst_ms: worst })
}

async function testIdle ({ connection, signal, event }) {
  await new Promise(resolve => setTimeout(resolve, IDLE_SECONDS * 1_000))
  if (connection.status !== 'open') {
    throw new Error(`the connection is ${connection.status} meanwhile`)
  }
  const started = performance.now()
  await echoOnce(connection, signal)
  event('idle', {
    idle_s: IDLE_SECONDS, bytes: ECHO_BYTES, ms: millis(performance.now() - started)
  })
}
