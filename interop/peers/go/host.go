package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	mplex "github.com/libp2p/go-libp2p-mplex"
	"github.com/libp2p/go-libp2p/core/crypto"
	coreevent "github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/insecure"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	"github.com/multiformats/go-multiaddr"
)

// newHost builds a host that offers exactly what the options name and reaches out to nobody.
func newHost(opts options, listenAddrs ...string) (host.Host, error) {
	kind, ok := keyTypes[opts.key]
	if !ok {
		return nil, unsupported{"key " + opts.key}
	}
	key, _, err := crypto.GenerateKeyPair(kind, 2048)
	if err != nil {
		return nil, err
	}
	config := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent("p2p-interop-go/go-libp2p"),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
	}
	if opts.test == "streams" {
		// The default takes 64 streams of one protocol from one peer.
		config = append(config, libp2p.ResourceManager(&network.NullResourceManager{}))
	}
	if len(listenAddrs) == 0 {
		config = append(config, libp2p.NoListenAddrs)
	} else {
		config = append(config, libp2p.ListenAddrStrings(listenAddrs...))
	}
	if opts.swarmKey != "" {
		file, err := os.Open(opts.swarmKey)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		psk, err := pnet.DecodeV1PSK(file)
		if err != nil {
			return nil, err
		}
		config = append(config, libp2p.PrivateNetwork(psk))
	}
	switch opts.transport {
	case "tcp":
		config = append(config, libp2p.Transport(tcp.NewTCPTransport))
	case "ws":
		config = append(config, libp2p.Transport(websocket.New))
	case "wss":
		serve, trust, err := webCertificate(opts.tls)
		if err != nil {
			return nil, err
		}
		config = append(config, libp2p.Transport(websocket.New, websocket.WithTLSConfig(serve), websocket.WithTLSClientConfig(trust)))
	case "quic":
		// Secured and multiplexed by itself.
		config = append(config, libp2p.Transport(libp2pquic.NewTransport))
		return libp2p.New(config...)
	default:
		return nil, unsupported{"transport " + opts.transport}
	}
	for _, name := range opts.security {
		switch name {
		case "plaintext":
			// Not NoSecurity: that one cannot stand beside another security.
			config = append(config, libp2p.Security(insecure.ID, insecure.NewWithIdentity))
		case "noise":
			config = append(config, libp2p.Security(noise.ID, newNoise(opts.early)))
		case "tls":
			config = append(config, libp2p.Security(libp2ptls.ID, newTLS(opts.early)))
		default:
			return nil, unsupported{"security " + name}
		}
	}
	for _, name := range opts.muxer {
		switch name {
		case "yamux":
			config = append(config, libp2p.Muxer(yamux.ID, yamux.DefaultTransport))
		case "mplex":
			config = append(config, libp2p.Muxer(mplex.ID, mplex.DefaultTransport))
		default:
			return nil, unsupported{"muxer " + name}
		}
	}
	return libp2p.New(config...)
}

// webCertificate reads what a listener of wss shows, and what a dialer trusts.
func webCertificate(folder string) (serve, trust *tls.Config, err error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
	if err != nil {
		return nil, nil, err
	}
	root, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	return &tls.Config{Certificates: []tls.Certificate{certificate}}, &tls.Config{RootCAs: roots}, nil
}

var keyTypes = map[string]int{
	"ecdsa":     crypto.ECDSA,
	"ed25519":   crypto.Ed25519,
	"rsa":       crypto.RSA,
	"secp256k1": crypto.Secp256k1,
}

// newNoise leaves the muxers out if they are to be negotiated afterwards.
func newNoise(early string) any {
	return func(id protocol.ID, key crypto.PrivKey, muxers []upgrader.StreamMuxer) (*noise.Transport, error) {
		if early == "off" {
			muxers = nil
		}
		return noise.New(id, key, muxers)
	}
}

func newTLS(early string) any {
	return func(id protocol.ID, key crypto.PrivKey, muxers []upgrader.StreamMuxer) (*libp2ptls.Transport, error) {
		if early == "off" {
			muxers = nil
		}
		return libp2ptls.New(id, key, muxers)
	}
}

// check says whether the test makes no sense with these options.
func check(opts options) error {
	if opts.test == "codes" && slices.Contains(opts.muxer, "mplex") {
		return unsupported{"error codes on mplex"}
	}
	if opts.early == "off" && slices.Contains(opts.security, "plaintext") {
		return unsupported{"early muxer negotiation in plaintext"}
	}
	return nil
}

func listen(opts options) error {
	if err := check(opts); err != nil {
		return err
	}
	h, err := newHost(opts, opts.addr)
	if err != nil {
		return err
	}
	serve(h)
	if err := reportPushes(h, nil); err != nil {
		return err
	}
	h.Network().Notify(&network.NotifyBundle{
		ConnectedF: func(_ network.Network, conn network.Conn) { reportConnection(conn) },
	})
	if flavour, ok := flavours[opts.test]; ok {
		messages, err := newSeries(context.Background(), h, flavour, 'L')
		if err != nil {
			return err
		}
		go func() {
			if err := messages.listen(context.Background()); err != nil {
				fail(fmt.Errorf("%s: %w", opts.test, err))
			}
		}()
	}
	identified, err := h.EventBus().Subscribe(new(coreevent.EvtPeerIdentificationCompleted))
	if err != nil {
		return err
	}
	go func() {
		for seen := range identified.Out() {
			reportIdentify(seen.(coreevent.EvtPeerIdentificationCompleted))
		}
	}()
	if opts.test == "mdns" {
		if _, err := discover(h); err != nil {
			return err
		}
	}
	for _, addr := range h.Addrs() {
		event("listening", map[string]any{"addr": fmt.Sprintf("%s/p2p/%s", addr, h.ID())})
	}
	<-stdinClosed()
	return h.Close()
}

func dial(ctx context.Context, opts options) error {
	if err := check(opts); err != nil {
		return err
	}
	started := time.Now()
	test, ok := tests[opts.test]
	flavour, isPubsub := flavours[opts.test]
	if !ok && !isPubsub {
		return unsupported{"test " + opts.test}
	}
	var listenAddrs []string
	if opts.test == "mdns" {
		listenAddrs = append(listenAddrs, opts.addr)
	}
	h, err := newHost(opts, listenAddrs...)
	if err != nil {
		return err
	}
	defer h.Close()
	serve(h)
	var messages *series
	if isPubsub {
		if messages, err = newSeries(ctx, h, flavour, 'D'); err != nil {
			return err
		}
	}
	addr, err := multiaddr.NewMultiaddr(opts.remote)
	if err != nil {
		return err
	}
	remote, err := peer.AddrInfoFromP2pAddr(addr)
	if err != nil {
		return err
	}
	// Before the dial: identify starts with the connection.
	identified, err := h.EventBus().Subscribe([]any{
		new(coreevent.EvtPeerIdentificationCompleted),
		new(coreevent.EvtPeerIdentificationFailed),
	})
	if err != nil {
		return err
	}
	if opts.test == "mdns" {
		if remote, err = find(ctx, h, remote.ID); err != nil {
			return fmt.Errorf("mdns: %w", err)
		}
	}
	if err := h.Connect(ctx, *remote); err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	for _, conn := range h.Network().ConnsToPeer(remote.ID) {
		reportConnection(conn)
	}
	if isPubsub {
		err = messages.dial(ctx)
	} else {
		err = test(ctx, session{h, *remote, identified.Out()})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", opts.test, err)
	}
	event("done", map[string]any{"ms": millis(time.Since(started))})
	return nil
}

func reportConnection(conn network.Conn) {
	state := conn.ConnState()
	event("connected", map[string]any{
		"peer":     conn.RemotePeer().String(),
		"security": nameOf(state.Security),
		"muxer":    nameOf(state.StreamMultiplexer),
		"early":    state.UsedEarlyMuxerNegotiation,
	})
}

func reportIdentify(seen coreevent.EvtPeerIdentificationCompleted) {
	addrs := make([]string, 0, len(seen.ListenAddrs))
	for _, addr := range seen.ListenAddrs {
		addrs = append(addrs, addr.String())
	}
	fields := map[string]any{
		"peer":      seen.Peer.String(),
		"agent":     seen.AgentVersion,
		"protocols": seen.Protocols,
		"addrs":     addrs,
		"signed":    seen.SignedPeerRecord != nil,
	}
	if seen.ObservedAddr != nil {
		fields["observed"] = seen.ObservedAddr.String()
	}
	event("identify", fields)
}

// nameOf turns a protocol id into the word on the command line.
func nameOf(id protocol.ID) string {
	switch id {
	case insecure.ID:
		return "plaintext"
	case noise.ID:
		return "noise"
	case libp2ptls.ID:
		return "tls"
	case yamux.ID:
		return "yamux"
	case mplex.ID:
		return "mplex"
	default:
		return string(id)
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
