// A fault of @libp2p/floodsub 11.0.28: a sequence number that begins with a zero byte does not survive.
//
// src/utils.ts, bigIntFromBytes and bigIntToBytes: it is kept as a number and written without its
// leading zeros. So one of 256 messages that js publishes has less than the eight bytes of the
// specification, and a message of somebody else whose number begins with a zero is refused: its
// signature is checked over other bytes than were signed. Two of js do not notice.
//
// Run beside the installed packages; prints what happened and leaves with 1 if the fault is there.

import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { RPC } from '../node_modules/@libp2p/floodsub/dist/src/message/rpc.js'
import { SignPrefix, verifySignature } from '../node_modules/@libp2p/floodsub/dist/src/sign.js'
import { toMessage, toRpcMessage } from '../node_modules/@libp2p/floodsub/dist/src/utils.js'

const key = await generateKeyPair('Ed25519')

/** What becomes of a message with this sequence number, signed as the specification says. */
async function pass (sequenceNumber) {
  const sent = {
    from: peerIdFromPrivateKey(key).toMultihash().bytes,
    data: Uint8Array.of(1),
    sequenceNumber,
    topic: 'topic'
  }
  const signature = await key.sign(Buffer.concat([SignPrefix, RPC.Message.encode(sent)]))
  const message = await toMessage({ ...sent, signature })
  return {
    written: toRpcMessage(message).sequenceNumber.byteLength,
    valid: await verifySignature(message, rpc => RPC.Message.encode(rpc))
  }
}

const usual = await pass(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))
const zero = await pass(Uint8Array.of(0, 2, 3, 4, 5, 6, 7, 8))
console.log('a number of 8 bytes is written with', usual.written, 'and valid:', usual.valid)
console.log('one that begins with 0 is written with', zero.written, 'and valid:', zero.valid)
process.exit(usual.valid && zero.written === 8 && zero.valid ? 0 : 1)
