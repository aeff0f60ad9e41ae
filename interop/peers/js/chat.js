// A chat with js-libp2p: every line of standard input goes out, what others write is shown.
//
// node chat.js TOPIC ADDR: docs/chat.md

import { createInterface } from 'node:readline'
import { identify } from '@libp2p/identify'
import { gossipsub } from '@libp2p/gossipsub'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const [topic, addr] = process.argv.slice(2)
const node = await createLibp2p({
  addresses: { listen: [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), pubsub: gossipsub({ emitSelf: false }) }
})
const { pubsub } = node.services

pubsub.addEventListener('message', ({ detail }) => {
  if (detail.topic === topic) {
    console.log(`${detail.from.toString().slice(-8)}: ${new TextDecoder().decode(detail.data)}`)
  }
})
pubsub.subscribe(topic)
await node.dial(multiaddr(addr))
while (pubsub.getSubscribers(topic).length === 0) {
  await new Promise(resolve => setTimeout(resolve, 50))
}
console.log('joined')

for await (const line of createInterface({ input: process.stdin })) {
  await pubsub.publish(topic, new TextEncoder().encode(line))
}
process.exit(0)
