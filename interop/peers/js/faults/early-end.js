// A fault of @libp2p/utils 7.4.1: what was read ahead cannot be given back after the remote's end.
//
// src/stream-utils.ts, unwrap: it pushes the bytes beyond the proposal back onto the stream, which
// refuses because the end has been seen and nothing is left to read
// (src/abstract-message-stream.ts, dispatchReadBuffer and unshift). So js resets every incoming
// stream whose proposal, data and end arrive together, as from a dialer that does not wait for
// consent and has little to say.
//
// Run beside the installed packages; prints what happened and leaves with 1 if the fault is there.

import { byteStream, streamPair } from '@libp2p/utils'

const [near, far] = await streamPair()
near.send(Uint8Array.of(1, 2, 3))
await near.close()
while (far.remoteWriteStatus !== 'closed') {
  await new Promise(resolve => setTimeout(resolve, 1))
}

const bytes = byteStream(far)
await bytes.read({ bytes: 1 }) // The proposal; the other two bytes are the data.
try {
  bytes.unwrap()
} catch (error) {
  console.log(`${error.name}: ${error.message}`)
  process.exit(1)
}
console.log('the data is there')
process.exit(0)
