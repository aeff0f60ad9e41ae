// The pubsub tests: both ends send a series of messages, the listener once it has the dialer's.

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { floodsub } from '@libp2p/floodsub'
import { gossipsub } from '@libp2p/gossipsub'

const TOPIC = 'p2p-interop'
const BURST = 500
// KiB, after the burst.
const SIZES = [1, 8, 60, 300, 900]
const PATTERN_MODULUS = 251

export const flavours = {
  gossip: { policy: 'StrictSign', build: gossipsub },
  'gossip-chain': { policy: 'StrictSign', build: gossipsub },
  'gossip-anonymous': { policy: 'StrictNoSign', build: gossipsub },
  // Not `flood-anonymous`: it drops messages without an author, whatever the policy.
  flood: { policy: 'StrictSign', build: floodsub }
}

/** The pubsub service of a test; none for other tests. */
export function service (test) {
  if (!Object.hasOwn(flavours, test)) {
    return {}
  }
  const { policy, build } = flavours[test]
  const init = { globalSignaturePolicy: policy, emitSelf: false }
  if (policy === 'StrictNoSign' && build === gossipsub) {
    init.msgIdFn = message =>
      createHash('sha256').update(message.topic).update(Buffer.of(0)).update(message.data).digest()
  }
  return { pubsub: build(init) }
}

export class Series {
  constructor (node, test, letter, event) {
    this.pubsub = node.services.pubsub
    this.test = test
    this.letter = letter
    this.event = event
    this.got = new Set()
    this.complete = new Promise((resolve, reject) => {
      this.pubsub.addEventListener('message', ({ detail }) => {
        try {
          this.receive(detail.data, resolve)
        } catch (error) {
          reject(error)
        }
      })
    })
    this.complete.catch(() => {}) // Waited for later.
    if (flavours[test].build === floodsub) {
      this.logRefused()
    }
    this.pubsub.subscribe(TOPIC)
  }

  /** Floodsub says nothing of messages that it throws away. */
  logRefused () {
    const validate = this.pubsub.validate.bind(this.pubsub)
    this.pubsub.validate = async (from, message) => {
      try {
        await validate(from, message)
      } catch (error) {
        console.error(`refused a message: ${error.message}`)
        throw error
      }
    }
  }

  async dial () {
    await this.send()
    await this.complete
  }

  async listen () {
    await this.complete
    await this.send()
  }

  async send () {
    const isFlood = flavours[this.test].build === floodsub
    // Both lose what is published before their own stream to a subscriber is open.
    const open = peer => isFlood
      ? this.pubsub.peers.get(peer)?.outboundPb !== undefined
      : this.pubsub.streamsOutbound.has(peer.toString())
    while (!this.pubsub.getSubscribers(TOPIC).some(open)) {
      await sleep(5)
    }
    for (let index = 0; index < COUNT; index++) {
      await this.pubsub.publish(TOPIC, payload(this.letter, index))
      if (isFlood) {
        await sleep(2) // It does not wait for its own writes, and a long queue of them ends the stream.
      }
    }
  }

  /** What the library speaks with its peers. Floodsub has one protocol only. */
  spoken () {
    const streams = this.pubsub.streamsOutbound?.values() ?? []
    return [...new Set([...streams].map(stream => stream.protocol))]
  }

  receive (data, resolve) {
    const bytes = Buffer.from(data)
    if (bytes[0] === this.letter.charCodeAt(0)) {
      return
    }
    const index = bytes.readUInt32BE(1)
    const other = this.letter === 'D' ? 'L' : 'D'
    if (index >= COUNT || !bytes.equals(payload(other, index))) {
      throw new Error(`message ${index} is wrong`)
    }
    if (this.got.has(index)) {
      throw new Error(`message ${index} came twice`)
    }
    this.got.add(index)
    if (this.got.size === COUNT) {
      this.event('pubsub', { received: COUNT, protocols: this.spoken() })
      resolve()
    }
  }
}

const COUNT = 1 + BURST + SIZES.length

function payload (letter, index) {
  const size = index === 0 ? 64 : index <= BURST ? 1024 : SIZES[index - BURST - 1] * 1024
  const data = Buffer.alloc(size)
  for (let i = 0; i < size; i++) {
    data[i] = i % PATTERN_MODULUS
  }
  data[0] = letter.charCodeAt(0)
  data.writeUInt32BE(index, 1)
  return data
}
