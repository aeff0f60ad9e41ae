package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/libp2p/go-libp2p"
	mplex "github.com/libp2p/go-libp2p-mplex"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/insecure"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

const (
	perfProtocol = "/perf/1.0.0"
	echoProtocol = "/bench/echo/1.0.0"
	holdProtocol = "/bench/hold/1.0.0"
)

// newHost builds a host of one stack. Identify runs always: go-libp2p has no host without it.
func newHost(opts options, listenAddrs ...string) (host.Host, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	config := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		// A limit that refuses is not what is measured.
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.Ping(opts.behaviours != "min"),
	}
	if len(listenAddrs) == 0 {
		config = append(config, libp2p.NoListenAddrs)
	} else {
		config = append(config, libp2p.ListenAddrStrings(listenAddrs...))
	}
	if opts.stack == "quic" {
		config = append(config, libp2p.Transport(libp2pquic.NewTransport))
		return libp2p.New(config...)
	}
	parts := strings.Split(opts.stack, "+")
	if len(parts) != 3 || parts[0] != "tcp" {
		return nil, fmt.Errorf("no stack %s", opts.stack)
	}
	config = append(config, libp2p.Transport(tcp.NewTCPTransport))
	switch parts[1] {
	case "noise":
		config = append(config, libp2p.Security(noise.ID, noise.New))
	case "tls":
		config = append(config, libp2p.Security(libp2ptls.ID, libp2ptls.New))
	case "plaintext":
		config = append(config, libp2p.Security(insecure.ID, insecure.NewWithIdentity))
	default:
		return nil, fmt.Errorf("no security %s", parts[1])
	}
	switch parts[2] {
	case "yamux":
		config = append(config, libp2p.Muxer(yamux.ID, yamux.DefaultTransport))
	case "mplex":
		config = append(config, libp2p.Muxer(mplex.ID, mplex.DefaultTransport))
	default:
		return nil, fmt.Errorf("no multiplexer %s", parts[2])
	}
	return libp2p.New(config...)
}

func listen(opts options) error {
	h, err := newHost(opts, opts.addr)
	if err != nil {
		return err
	}
	h.SetStreamHandler(perfProtocol, func(stream network.Stream) { servePerf(stream, opts.chunk) })
	h.SetStreamHandler(echoProtocol, serveEcho)
	h.SetStreamHandler(holdProtocol, serveHold)
	said := map[string]any{
		"listening": fmt.Sprintf("%s/p2p/%s", h.Addrs()[0], h.ID()),
		"pid":       os.Getpid(),
	}
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		return err
	}
	select {}
}

func servePerf(stream network.Stream, chunk int) {
	var size [8]byte
	if _, err := io.ReadFull(stream, size[:]); err != nil {
		stream.Reset()
		return
	}
	_, err := drain(stream)
	if err == nil {
		err = writeBytes(stream, int64(binary.BigEndian.Uint64(size[:])), chunk)
	}
	end(stream, err)
}

func serveEcho(stream network.Stream) {
	buffer := make([]byte, 2048)
	for {
		count, err := stream.Read(buffer)
		if count > 0 {
			if _, err := stream.Write(buffer[:count]); err != nil {
				stream.Reset()
				return
			}
		}
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			end(stream, err)
			return
		}
	}
}

func serveHold(stream network.Stream) {
	buffer := make([]byte, 8)
	for {
		if _, err := stream.Read(buffer); err != nil {
			stream.Close()
			return
		}
	}
}

func end(stream network.Stream, err error) {
	if err != nil {
		stream.Reset()
		return
	}
	stream.Close()
}

func drain(stream network.Stream) (int64, error) {
	buffer := make([]byte, 64<<10)
	var total int64
	for {
		count, err := stream.Read(buffer)
		total += int64(count)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

func writeBytes(stream network.Stream, bytes int64, chunk int) error {
	buffer := make([]byte, chunk)
	for bytes > 0 {
		piece := buffer[:min(bytes, int64(chunk))]
		if _, err := stream.Write(piece); err != nil {
			return err
		}
		bytes -= int64(len(piece))
	}
	return nil
}

// connection is a host and whom it is connected with.
type connection struct {
	host host.Host
	peer peer.ID
}

func connect(h host.Host, addr string) (connection, error) {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return connection{}, err
	}
	return connection{h, info.ID}, h.Connect(context.Background(), *info)
}

func (c connection) open(name string) (network.Stream, error) {
	return c.host.NewStream(context.Background(), c.peer, protocol.ID(name))
}

func (c connection) close() error {
	return c.host.Network().ClosePeer(c.peer)
}
