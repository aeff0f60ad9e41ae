// js-libp2p behind the interop command line (interop/README.md).
//
// Prints one JSON object per line on standard output, logs on standard error, and leaves
// with 0 or 1. A listener serves until its standard input closes.

import { quic } from '@chainsafe/libp2p-quic'
import { readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setDefaultCACertificates } from 'node:tls'
import { parseArgs } from 'node:util'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { identify, identifyPush } from '@libp2p/identify'
import { enable } from '@libp2p/logger'
import { mdns } from '@libp2p/mdns'
import { mplex } from '@libp2p/mplex'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { plaintext } from '@libp2p/plaintext'
import { preSharedKey } from '@libp2p/pnet'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { serve, tests } from './play.js'
import { millis } from './protocols.js'
import { flavours, Series, service } from './pubsub.js'

const USAGE = `usage:
  peer listen --transport tcp|quic|ws|wss --security plaintext|noise|tls --muxer yamux|mplex [--addr MULTIADDR] [--test TEST]
  peer dial ADDR --transport tcp|quic|ws|wss --security .. --muxer .. --test TEST [--deadline SECONDS]
ADDR of the test mdns is /p2p/ID alone: the listener is found, and --addr is where the dialer listens
both: [--key ed25519|secp256k1|ecdsa|rsa] [--early on|off] [--tls FOLDER] [--swarm-key FILE]; tests: interop/README.md`

const TRANSPORTS = {
  quic: () => quic(),
  tcp: () => tcp(),
  ws: () => webSockets(),
  wss: options => webSockets({ https: webCertificate(options.tls) })
}
const SECURITIES = {
  noise: ({ early }) => early === 'off' ? late(noise()) : noise(),
  plaintext: ({ early }) => {
    if (early === 'off') {
      throw new Unsupported('js has no early muxer negotiation in plaintext')
    }
    return plaintext()
  },
  tls: ({ early }) => early === 'off' ? late(tls()) : tls()
}
// A key pair can be ECDSA; the id of a node cannot.
const KEYS = { ed25519: 'Ed25519', rsa: 'RSA', secp256k1: 'secp256k1' }
// By default an eleventh stream that comes before the connection is ready is reset.
const EARLY = { maxEarlyStreams: 1_000 }
const MUXERS = {
  // By default six new streams within a second end the connection; five pings and identify are six.
  mplex: () => mplex({ disconnectThreshold: 1_000_000, ...EARLY }),
  yamux: () => yamux(EARLY)
}
const NAMES = {
  '/mplex/6.7.0': 'mplex',
  '/noise': 'noise',
  '/plaintext/2.0.0': 'plaintext',
  '/tls/1.0.0': 'tls',
  '/yamux/1.0.0': 'yamux'
}

/** js-libp2p does not have what was asked for. */
class Unsupported extends Error {}

/** A security that leaves the muxer to be negotiated afterwards. */
function late (create) {
  return components => {
    const security = create(components)
    for (const method of ['secureInbound', 'secureOutbound']) {
      const secure = security[method].bind(security)
      security[method] = (connection, options) =>
        secure(connection, { ...options, skipStreamMuxerNegotiation: true })
    }
    return security
  }
}

/** Certificate and key of a listener. A dialer trusts the root from now on. */
function webCertificate (folder) {
  const read = name => readFileSync(join(folder, name), 'utf8')
  setDefaultCACertificates([read('ca.pem')])
  return { cert: read('cert.pem'), key: read('key.pem') }
}

/** Prints one line for the runner, at once: the program may end right after. */
function event (name, fields) {
  writeSync(1, JSON.stringify({ event: name, ...fields }) + '\n')
}

function fail (error) {
  const fields = { message: describe(error) }
  if (error instanceof Unsupported) {
    fields.unsupported = true
  }
  console.error(error)
  event('error', fields)
  process.exit(1)
}

function describe (error) {
  const inner = error.errors ?? (error.cause == null ? [] : [error.cause])
  return [`${error.name}: ${error.message}`, ...inner.map(describe)].join('; ')
}

function parse (args) {
  const { values } = parseArgs({
    args,
    options: {
      transport: { type: 'string', default: 'tcp' },
      security: { type: 'string', default: 'noise' },
      muxer: { type: 'string', default: 'yamux' },
      addr: { type: 'string', default: '/ip4/127.0.0.1/tcp/0' },
      test: { type: 'string', default: 'ping' },
      key: { type: 'string', default: 'ed25519' },
      early: { type: 'string', default: 'on' },
      tls: { type: 'string', default: '' },
      'swarm-key': { type: 'string' },
      deadline: { type: 'string', default: '55' }
    }
  })
  if (values.test === 'codes') {
    throw new Unsupported('js does not have stream error codes')
  }
  return values
}

function pick (kind, known, names, options) {
  return names.split(',').map(name => {
    if (!Object.hasOwn(known, name)) {
      throw new Unsupported(`js does not have ${kind} ${name}`)
    }
    return known[name](options)
  })
}

/** A node that offers exactly what the options name and reaches out to nobody. */
async function createNode (options, listen) {
  if (!Object.hasOwn(KEYS, options.key)) {
    throw new Unsupported(`js does not have key ${options.key}`)
  }
  const upgrades = options.transport === 'quic'
    ? {} // Secured and multiplexed by itself.
    : {
        connectionEncrypters: pick('security', SECURITIES, options.security, options),
        streamMuxers: pick('muxer', MUXERS, options.muxer)
      }
  const swarmKey = options['swarm-key']
  const protector = swarmKey == null
    ? {}
    : { connectionProtector: preSharedKey({ psk: readFileSync(swarmKey) }) }
  return createLibp2p({
    ...upgrades,
    ...protector,
    privateKey: await generateKeyPair(KEYS[options.key]),
    addresses: { listen },
    nodeInfo: { userAgent: 'p2p-interop-js/js-libp2p' },
    peerDiscovery: options.test === 'mdns' ? [mdns()] : [],
    transports: pick('transport', TRANSPORTS, options.transport, options),
    services: {
      identify: identify(),
      identifyPush: identifyPush(),
      ping: ping(),
      ...service(options.test)
    }
  })
}

function reportConnection (connection) {
  event('connected', {
    peer: connection.remotePeer.toString(),
    security: NAMES[connection.encryption] ?? connection.encryption,
    muxer: NAMES[connection.multiplexer] ?? connection.multiplexer
  })
}

function reportIdentify (result, name = 'identify') {
  event(name, {
    peer: result.peerId.toString(),
    agent: result.agentVersion,
    protocols: result.protocols,
    addrs: result.listenAddrs.map(addr => addr.toString()),
    observed: result.observedAddr?.toString(),
    signed: result.signedPeerRecord != null
  })
}

/** Tells the first identify of each connection from what is pushed later. */
function watchIdentify (node, { onIdentify, onPush }) {
  const seen = new Set()
  node.addEventListener('peer:identify', ({ detail }) => {
    if (seen.has(detail.connection.id)) {
      reportIdentify(detail, 'push')
      onPush?.(detail)
    } else {
      seen.add(detail.connection.id)
      onIdentify?.(detail)
    }
  })
}

async function listen (args) {
  const options = parse(args)
  const node = await createNode(options, [options.addr])
  node.addEventListener('connection:open', ({ detail }) => reportConnection(detail))
  watchIdentify(node, { onIdentify: detail => reportIdentify(detail) })
  await serve(node, event)
  if (/^(gossip|flood)/.test(options.test) && !Object.hasOwn(flavours, options.test)) {
    throw new Unsupported(`js does not have test ${options.test}`)
  }
  if (Object.hasOwn(flavours, options.test)) {
    new Series(node, options.test, 'L', event).listen().catch(fail)
  }
  for (const addr of node.getMultiaddrs()) {
    event('listening', { addr: addr.toString() })
  }
  await stdinClosed()
  process.exit(0)
}

async function dial (addr, args) {
  const started = performance.now()
  const options = parse(args)
  const isPubsub = Object.hasOwn(flavours, options.test)
  const test = tests[options.test]
  if (test == null && !isPubsub) {
    throw new Unsupported(`js does not have test ${options.test}`)
  }
  const deadline = Number(options.deadline) * 1000
  setTimeout(() => fail(new Error('deadline passed')), deadline).unref()
  const signal = AbortSignal.timeout(deadline)
  const finds = options.test === 'mdns'
  const node = await createNode(options, finds ? [options.addr] : [])
  const discovered = finds ? find(node, addr) : undefined
  await serve(node, event)
  const series = isPubsub ? new Series(node, options.test, 'D', event) : undefined
  // Before the dial: identify starts with the connection.
  const pushes = []
  const identified = new Promise(resolve => {
    watchIdentify(node, { onIdentify: resolve, onPush: detail => pushes.push(detail) })
  })
  const remote = await discovered ?? multiaddr(addr)
  const redial = () => node.dial(remote, { signal })
  const connection = await redial()
  reportConnection(connection)
  await series?.dial()
  await test?.({
    node, connection, redial, signal, event, identified, pushes, reportIdentify, stdinClosed
  })
  event('done', { ms: millis(performance.now() - started) })
  await node.stop()
  process.exit(0)
}

/** The addresses of the peer that `/p2p/ID` names, as soon as the local network tells them. */
async function find (node, addr) {
  const wanted = addr.replace('/p2p/', '')
  return new Promise(resolve => {
    node.addEventListener('peer:discovery', ({ detail }) => {
      if (detail.id.toString() === wanted) {
        event('found', { peer: wanted, addrs: detail.multiaddrs.map(it => it.toString()) })
        resolve(detail.multiaddrs.map(it => it.encapsulate(addr)))
      }
    })
  })
}

/** Resolves when whoever started us closes our standard input, or dies. */
async function stdinClosed () {
  process.stdin.resume()
  return new Promise(resolve => {
    process.stdin.once('end', resolve)
    process.stdin.once('close', resolve)
    process.stdin.once('error', resolve)
  })
}

async function main ([command, ...args]) {
  if (command === 'listen') {
    return listen(args)
  }
  if (command === 'dial' && args.length > 0) {
    return dial(args[0], args.slice(1))
  }
  throw new Error(USAGE)
}

// What the library keeps to itself otherwise: why it refused a connection, for one.
enable('libp2p:*:error')
process.on('uncaughtException', fail)
main(process.argv.slice(2)).catch(fail)
