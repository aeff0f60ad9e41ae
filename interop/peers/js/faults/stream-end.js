// A fault of @libp2p/utils 7.4.1: the iterator of a stream misses an end that came before it.
//
// src/abstract-message-stream.ts, [Symbol.asyncIterator]: it listens for `remoteCloseWrite`, and does
// not look whether the remote has closed already. The data is delivered, the end never is.
//
// Run beside the installed packages; prints what happened and leaves with 1 if the fault is there.

import { streamPair } from '@libp2p/utils'

const PATIENCE_MS = 1_000

const [near, far] = await streamPair()
near.send(Uint8Array.of(1, 2, 3))
await near.close()
while (far.remoteWriteStatus !== 'closed') {
  await new Promise(resolve => setTimeout(resolve, 1))
}

setTimeout(() => {
  console.log('the end never came')
  process.exit(1)
}, PATIENCE_MS)
for await (const chunk of far) {
  console.log(`${chunk.byteLength} bytes came`)
}
console.log('the end came')
process.exit(0)
