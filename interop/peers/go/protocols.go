package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	coreevent "github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

const (
	echoProtocol = "/p2p-interop/echo/1.0.0"
	perfProtocol = "/perf/1.0.0"

	pings         = 5
	echoRounds    = 2
	echoBytes     = 100_000
	transferBytes = 5_000_000
	block         = 64 * 1024
	// Byte i of a transfer is i modulo this: a lost, doubled or moved piece shows.
	patternModulus = 251
)

// session is what a test works with.
type session struct {
	h          host.Host
	remote     peer.AddrInfo
	identified <-chan any
}

type testFunc func(ctx context.Context, s session) error

var tests = map[string]testFunc{
	"big":      testBig,
	"close":    testClose,
	"codes":    testCodes,
	"echo":     testEcho,
	"identify": testIdentify,
	"idle":     testIdle,
	"minute":   testMinute,
	"orders":   testOrders,
	"ping":     testPing,
	"mdns":     testPing, // once found
	"push":     testPush,
	"reset":    testReset,
	"slow":     testSlow,
	"streams":  testStreams,
	"transfer": testTransfer,
}

// serve answers what the tests ask for; ping and identify come with the host.
func serve(h host.Host) {
	h.SetStreamHandler(echoProtocol, func(s network.Stream) {
		finish(s, "echo", serveEcho(s))
	})
	h.SetStreamHandler(perfProtocol, func(s network.Stream) {
		finish(s, "transfer", serveTransfer(s))
	})
	servePlay(h)
}

func finish(s network.Stream, name string, err error) {
	if err != nil {
		log.Printf("serving %s: %v", name, err)
		s.Reset()
		return
	}
	s.Close()
}

func serveEcho(s network.Stream) error {
	if _, err := io.Copy(s, s); err != nil {
		return err
	}
	return s.CloseWrite()
}

func serveTransfer(s network.Stream) error {
	var header [8]byte
	if _, err := io.ReadFull(s, header[:]); err != nil {
		return fmt.Errorf("size: %w", err)
	}
	uploaded, err := readPattern(s)
	if err != nil {
		return fmt.Errorf("upload after %d bytes: %w", uploaded, err)
	}
	event("transfer", map[string]any{"received": uploaded})
	if err := writePattern(s, int64(binary.BigEndian.Uint64(header[:]))); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	return s.CloseWrite()
}

func testPing(ctx context.Context, t session) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := ping.Ping(ctx, t.h, t.remote.ID)
	rtts := make([]float64, 0, pings)
	for len(rtts) < pings {
		result, ok := <-results
		if !ok {
			return fmt.Errorf("ended after %d of %d", len(rtts), pings)
		}
		if result.Error != nil {
			return fmt.Errorf("number %d: %w", len(rtts)+1, result.Error)
		}
		rtts = append(rtts, millis(result.RTT))
	}
	event("ping", map[string]any{"rtts_ms": rtts})
	return nil
}

func testIdentify(ctx context.Context, t session) error {
	seen, err := awaitIdentify(ctx, t)
	if err != nil {
		return err
	}
	reportIdentify(seen)
	select {
	case <-stdinClosed():
	case <-time.After(linger):
	}
	return nil
}

func awaitIdentify(ctx context.Context, t session) (coreevent.EvtPeerIdentificationCompleted, error) {
	var none coreevent.EvtPeerIdentificationCompleted
	for {
		select {
		case seen := <-t.identified:
			switch seen := seen.(type) {
			case coreevent.EvtPeerIdentificationCompleted:
				if seen.Peer == t.remote.ID {
					return seen, nil
				}
			case coreevent.EvtPeerIdentificationFailed:
				return none, seen.Reason
			}
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

func testEcho(ctx context.Context, t session) error {
	started := time.Now()
	for round := 1; round <= echoRounds; round++ {
		if err := echoOnce(ctx, t, echoBytes); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	event("echo", map[string]any{
		"rounds": echoRounds, "bytes": echoBytes, "ms": millis(time.Since(started)),
	})
	return nil
}

func echoOnce(ctx context.Context, t session, size int) error {
	s, err := openStream(ctx, t.h, t.remote.ID, echoProtocol)
	if err != nil {
		return err
	}
	return echoOn(s, size)
}

// echoOn reads while it writes: mplex has no flow control to hold the echo back.
func echoOn(s network.Stream, size int) error {
	sent := make([]byte, size)
	if _, err := rand.Read(sent); err != nil {
		return err
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := s.Write(sent)
		wrote <- errors.Join(err, s.CloseWrite())
	}()
	got, err := io.ReadAll(s)
	if err := errors.Join(err, <-wrote); err != nil {
		s.Reset()
		return fmt.Errorf("after %d bytes: %w", len(got), err)
	}
	if !bytes.Equal(got, sent) {
		return fmt.Errorf("sent %d bytes, got %d others back", len(sent), len(got))
	}
	return s.Close()
}

func testTransfer(ctx context.Context, t session) error {
	up, down, err := exchange(ctx, t, transferBytes, transferBytes)
	if err != nil {
		return err
	}
	event("transfer", map[string]any{
		"sent": transferBytes, "received": transferBytes, "up_ms": millis(up), "down_ms": millis(down),
	})
	return nil
}

// exchange is one run of /perf/1.0.0; it returns how long each way took.
func exchange(ctx context.Context, t session, send, want int64) (up, down time.Duration, err error) {
	s, err := openStream(ctx, t.h, t.remote.ID, perfProtocol)
	if err != nil {
		return 0, 0, err
	}
	defer s.Reset() // Does nothing to a stream that is closed.
	started := time.Now()
	if err := binary.Write(s, binary.BigEndian, uint64(want)); err != nil {
		return 0, 0, fmt.Errorf("size: %w", err)
	}
	if err := writePattern(s, send); err != nil {
		return 0, 0, fmt.Errorf("upload: %w", err)
	}
	if err := s.CloseWrite(); err != nil {
		return 0, 0, fmt.Errorf("half-close: %w", err)
	}
	uploaded := time.Now()
	received, err := readPattern(s)
	if err != nil {
		return 0, 0, fmt.Errorf("download after %d bytes: %w", received, err)
	}
	if received != want {
		return 0, 0, fmt.Errorf("asked for %d bytes, got %d", want, received)
	}
	return uploaded.Sub(started), time.Since(uploaded), s.Close()
}

func openStream(ctx context.Context, h host.Host, remote peer.ID, id string) (network.Stream, error) {
	s, err := h.NewStream(ctx, remote, protocol.ID(id))
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	if limit, ok := ctx.Deadline(); ok {
		if err := s.SetDeadline(limit); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func writePattern(w io.Writer, total int64) error {
	buffer := make([]byte, block)
	for sent := int64(0); sent < total; {
		piece := buffer[:min(int64(len(buffer)), total-sent)]
		for i := range piece {
			piece[i] = byte((sent + int64(i)) % patternModulus)
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		sent += int64(len(piece))
	}
	return nil
}

// readPattern reads to the end and returns how many bytes came.
func readPattern(r io.Reader) (int64, error) {
	buffer := make([]byte, block)
	received := int64(0)
	for {
		n, err := r.Read(buffer)
		for i, got := range buffer[:n] {
			if want := byte((received + int64(i)) % patternModulus); got != want {
				return received, fmt.Errorf("byte %d is %d, not %d", received+int64(i), got, want)
			}
		}
		received += int64(n)
		if err == io.EOF {
			return received, nil
		}
		if err != nil {
			return received, err
		}
	}
}
