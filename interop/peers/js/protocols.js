// Ping, identify, echo and transfer: both sides, and the tests. The first two are services of the node.

import { StreamResetError } from '@libp2p/interface'

export const ECHO = '/p2p-interop/echo/1.0.0'
export const PERF = '/perf/1.0.0'

const PINGS = 5
const ECHO_ROUNDS = 2
export const ECHO_BYTES = 100_000
const TRANSFER_BYTES = 5_000_000
const BLOCK = 64 * 1024
const SIZE_BYTES = 8
// Byte i of a transfer is i modulo this: a lost, doubled or moved piece shows.
const PATTERN_MODULUS = 251
// How long a dialer stays after identify, so that the remote can finish its own.
const LINGER_MS = 3_000

// The default is 32 in and 64 out; the test of many streams has 200.
export const LIMITS = { maxInboundStreams: 1_000, maxOutboundStreams: 1_000 }

/** Answers what the tests here ask for. */
export async function serveBasics (node, event) {
  await node.handle(ECHO, guarded('echo', serveEcho), LIMITS)
  await node.handle(PERF, guarded('transfer', stream => serveTransfer(stream, event)), LIMITS)
}

export const basics = {
  ping: testPing,
  mdns: testPing, // once found
  identify: testIdentify,
  echo: testEcho,
  transfer: testTransfer
}

export function guarded (name, handler) {
  return async stream => {
    try {
      await handler(stream)
    } catch (error) {
      console.error(`serving ${name}:`, error)
      stream.abort(error)
    }
  }
}

/**
 * What `for await (const chunk of stream)` should give: all data, then the end. The stream's own
 * iterator waits forever if the remote's end came before it was asked, as happens when proposal,
 * data and end arrive together (faults/stream-end.js).
 */
export async function * chunks (stream) {
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
        if (stream.status === 'reset') {
          throw new StreamResetError('reset before it was read')
        }
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

async function serveEcho (stream) {
  for await (const chunk of chunks(stream)) {
    await send(stream, chunk)
  }
  await stream.close()
}

async function serveTransfer (stream, event) {
  const size = new Uint8Array(SIZE_BYTES)
  let sized = 0
  let received = 0
  for await (const chunk of chunks(stream)) {
    const bytes = chunk.subarray()
    const head = Math.min(SIZE_BYTES - sized, bytes.length)
    size.set(bytes.subarray(0, head), sized)
    sized += head
    received = checkPattern(bytes.subarray(head), received)
  }
  if (sized < SIZE_BYTES) {
    throw new Error(`ended within the size, after ${sized} bytes`)
  }
  event('transfer', { received })
  await writePattern(stream, Number(new DataView(size.buffer).getBigUint64(0)))
  await stream.close()
}

/** Five streams: the service opens one for each ping. */
async function testPing ({ node, connection, signal, event }) {
  const rtts = []
  while (rtts.length < PINGS) {
    rtts.push(await node.services.ping.ping(connection.remotePeer, { signal }))
  }
  event('ping', { rtts_ms: rtts })
}

/** Waits for the node's own identify: a second one at the same time would be refused. */
async function testIdentify ({ identified, signal, reportIdentify, stdinClosed }) {
  reportIdentify(await Promise.race([identified, aborted(signal)]))
  await Promise.race([stdinClosed(), new Promise(resolve => setTimeout(resolve, LINGER_MS))])
}

async function testEcho ({ connection, signal, event }) {
  const started = performance.now()
  for (let round = 1; round <= ECHO_ROUNDS; round++) {
    await echoOnce(connection, signal)
  }
  event('echo', { rounds: ECHO_ROUNDS, bytes: ECHO_BYTES, ms: millis(performance.now() - started) })
}

/** Reads while it writes: mplex has no flow control to hold the echo back. */
export async function echoOnce (connection, signal, size = ECHO_BYTES) {
  const stream = await connection.newStream(ECHO, { signal, ...LIMITS })
  await echoOn(stream, signal, size)
}

export async function echoOn (stream, signal, size) {
  const sent = Buffer.alloc(size)
  for (let at = 0; at < size; at += BLOCK) {
    crypto.getRandomValues(sent.subarray(at, at + BLOCK))
  }
  const reading = collect(stream)
  await send(stream, sent, signal)
  await stream.close({ signal })
  const got = await Promise.race([reading, aborted(signal)])
  if (!sent.equals(got)) {
    throw new Error(`sent ${sent.length} bytes, got ${got.length} others back`)
  }
}

async function testTransfer ({ connection, signal, event }) {
  const { up, down } = await exchange(connection, signal, TRANSFER_BYTES, TRANSFER_BYTES)
  event('transfer', {
    sent: TRANSFER_BYTES, received: TRANSFER_BYTES, up_ms: millis(up), down_ms: millis(down)
  })
}

/** One run of /perf/1.0.0: how long each way took. */
export async function exchange (connection, signal, upload, download) {
  const stream = await connection.newStream(PERF, { signal })
  const started = performance.now()
  const reading = readPattern(stream)
  reading.catch(() => {}) // Waited for below; it may fail while we still write.
  await ask(stream, download, signal)
  await writePattern(stream, upload, signal)
  await stream.close({ signal })
  const uploaded = performance.now()
  const received = await Promise.race([reading, aborted(signal)])
  if (received !== download) {
    throw new Error(`asked for ${download} bytes, got ${received}`)
  }
  return { up: uploaded - started, down: performance.now() - uploaded }
}

/** The head of a /perf/1.0.0 stream: how much we want. */
export async function ask (stream, download, signal) {
  const size = new Uint8Array(SIZE_BYTES)
  new DataView(size.buffer).setBigUint64(0, BigInt(download))
  await send(stream, size, signal)
}

async function collect (stream) {
  const parts = []
  for await (const chunk of chunks(stream)) {
    parts.push(chunk.subarray())
  }
  return Buffer.concat(parts)
}

export async function send (stream, bytes, signal) {
  if (!stream.send(bytes)) {
    await stream.onDrain({ signal })
  }
}

export async function writePattern (stream, total, signal) {
  for (let sent = 0; sent < total;) {
    const piece = new Uint8Array(Math.min(BLOCK, total - sent))
    for (let i = 0; i < piece.length; i++) {
      piece[i] = (sent + i) % PATTERN_MODULUS
    }
    await send(stream, piece, signal)
    sent += piece.length
  }
}

/** Reads to the end and returns how many bytes came. */
export async function readPattern (stream) {
  let received = 0
  for await (const chunk of chunks(stream)) {
    received = checkPattern(chunk.subarray(), received)
  }
  return received
}

export function checkPattern (bytes, offset) {
  for (let i = 0; i < bytes.length; i++, offset++) {
    if (bytes[i] !== offset % PATTERN_MODULUS) {
      throw new Error(`byte ${offset} is ${bytes[i]}, not ${offset % PATTERN_MODULUS}`)
    }
  }
  return offset
}

export async function aborted (signal, where = 'test') {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error(`deadline passed in ${where}`)), { once: true })
  })
}

export function millis (time) {
  return Math.round(time * 1000) / 1000
}
