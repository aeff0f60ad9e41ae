package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	coreevent "github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

const (
	playProtocol  = "/p2p-interop/play/1.0.0"
	addedProtocol = "/p2p-interop/added/1.0.0"

	// The first byte of a play stream; interop/README.md says what each asks for.
	playAfter   = 'a'
	playFirst   = 'f'
	playNothing = 'n'
	playWait    = 'w'
	playReset   = 'r'
	playPush    = 'p'
	playQuit    = 'q'
	playExit    = 'x'

	said        = 1000
	code        = 0x2a17
	streams     = 200
	streamBytes = 100
	slowBytes   = 2_000_000
	fast        = 8
	bigBytes    = 50_000_000
	minutePings = 60
	idle        = 120 * time.Second

	// How long an end of a connection, or a push, may take.
	noticeWithin = 20 * time.Second
	// How long the disappearance of a process may take over QUIC, where only silence tells of it.
	silenceWithin = 50 * time.Second
	disappearance = "their disappearance"
	// Connections that have ended before playExit ends the program.
	endsBeforeExit = 2
)

// servePlay does what the first byte of a stream says.
func servePlay(h host.Host) {
	ended := make(chan struct{}, 64)
	h.Network().Notify(&network.NotifyBundle{
		DisconnectedF: func(_ network.Network, conn network.Conn) {
			event("disconnected", map[string]any{"peer": conn.RemotePeer().String()})
			ended <- struct{}{}
		},
	})
	h.SetStreamHandler(playProtocol, func(s network.Stream) {
		if err := play(h, s, ended); err != nil {
			log.Printf("serving play: %v", err)
			s.Reset()
		}
	})
}

func play(h host.Host, s network.Stream, ended <-chan struct{}) error {
	command := make([]byte, 1)
	if _, err := io.ReadFull(s, command); err != nil {
		return err
	}
	switch command[0] {
	case playAfter:
		received, err := readPattern(s)
		if err != nil {
			return err
		}
		reportEnd(command, received)
		if err := writePattern(s, said); err != nil {
			return err
		}
		return s.Close()
	case playFirst:
		return endFirst(s, command, said)
	case playNothing:
		return endFirst(s, command, 0)
	case playWait:
		if _, err := s.Write(command); err != nil {
			return err
		}
		event("reset", saw(s))
		return s.Close()
	case playReset:
		var code [4]byte
		if _, err := io.ReadFull(s, code[:]); err != nil {
			return err
		}
		return s.ResetWithError(network.StreamErrorCode(binary.BigEndian.Uint32(code[:])))
	case playPush:
		addProtocol(h)
		return s.Close()
	case playQuit:
		return s.Conn().Close()
	case playExit:
		late := time.After(noticeWithin / 2)
		for range endsBeforeExit {
			select {
			case <-ended:
			case <-late:
				os.Exit(0)
			}
		}
		os.Exit(0)
	}
	return fmt.Errorf("no such play: %q", command)
}

// endFirst writes and ends at once, and reads until the remote ends as well.
func endFirst(s network.Stream, command []byte, size int64) error {
	wrote := make(chan error, 1)
	go func() { wrote <- errors.Join(writePattern(s, size), s.CloseWrite()) }()
	received, err := readPattern(s)
	if err := errors.Join(err, <-wrote); err != nil {
		return err
	}
	reportEnd(command, received)
	return s.Close()
}

func reportEnd(command []byte, received int64) {
	event("ended", map[string]any{"order": string(command), "received": received})
}

// saw says how a stream ended that should have been reset.
func saw(s network.Stream) map[string]any {
	_, err := io.Copy(io.Discard, s)
	var reset *network.StreamError
	switch {
	case err == nil:
		return map[string]any{"saw": "end"}
	case errors.As(err, &reset):
		return map[string]any{"saw": "reset", "code": reset.ErrorCode}
	case errors.Is(err, network.ErrReset):
		return map[string]any{"saw": "reset"}
	default:
		return map[string]any{"saw": err.Error()}
	}
}

func addProtocol(h host.Host) {
	h.SetStreamHandler(addedProtocol, func(s network.Stream) { s.Close() })
}

// reportPushes prints what is pushed to us, and tells it to seen if that is not nil.
func reportPushes(h host.Host, seen chan<- []protocol.ID) error {
	updates, err := h.EventBus().Subscribe(new(coreevent.EvtPeerProtocolsUpdated))
	if err != nil {
		return err
	}
	go func() {
		for update := range updates.Out() {
			update := update.(coreevent.EvtPeerProtocolsUpdated)
			event("push", map[string]any{"peer": update.Peer.String(), "protocols": update.Added})
			if seen != nil {
				seen <- update.Added
			}
		}
	}()
	return nil
}

// playStream opens a stream and tells the other end what to do on it.
func playStream(ctx context.Context, t session, command ...byte) (network.Stream, error) {
	s, err := openStream(ctx, t.h, t.remote.ID, playProtocol)
	if err != nil {
		return nil, err
	}
	_, err = s.Write(command)
	return s, err
}

// testOrders half-closes in every order, one stream each.
func testOrders(ctx context.Context, t session) error {
	started := time.Now()
	orders := []struct {
		name string
		run  func() (int64, error)
	}{
		{"after", func() (int64, error) { return weFirst(ctx, t) }},
		{"both", func() (int64, error) { return bothAtOnce(ctx, t) }},
		{"first", func() (int64, error) { return theyFirst(ctx, t, playFirst) }},
		{"nothing", func() (int64, error) { return theyFirst(ctx, t, playNothing) }},
		{"empty", func() (int64, error) { return empty(ctx, t) }},
	}
	fields := map[string]any{}
	for _, order := range orders {
		received, err := order.run()
		if err != nil {
			return fmt.Errorf("%s after %d bytes: %w", order.name, received, err)
		}
		fields[order.name] = received
	}
	fields["ms"] = millis(time.Since(started))
	event("orders", fields)
	return nil
}

func weFirst(ctx context.Context, t session) (int64, error) {
	s, err := playStream(ctx, t, playAfter)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(writePattern(s, said), s.CloseWrite()); err != nil {
		return 0, err
	}
	return readPattern(s)
}

func bothAtOnce(ctx context.Context, t session) (int64, error) {
	s, err := playStream(ctx, t, playFirst)
	if err != nil {
		return 0, err
	}
	wrote := make(chan error, 1)
	go func() { wrote <- errors.Join(writePattern(s, said), s.CloseWrite()) }()
	received, err := readPattern(s)
	return received, errors.Join(err, <-wrote)
}

func theyFirst(ctx context.Context, t session, command byte) (int64, error) {
	s, err := playStream(ctx, t, command)
	if err != nil {
		return 0, err
	}
	received, err := readPattern(s)
	if err != nil {
		return received, err
	}
	return received, errors.Join(writePattern(s, said), s.CloseWrite())
}

func empty(ctx context.Context, t session) (int64, error) {
	s, err := openStream(ctx, t.h, t.remote.ID, echoProtocol)
	if err != nil {
		return 0, err
	}
	if err := s.CloseWrite(); err != nil {
		return 0, err
	}
	return readPattern(s)
}

func testReset(ctx context.Context, t session) error {
	return resets(ctx, t, "reset", 0)
}

func testCodes(ctx context.Context, t session) error {
	return resets(ctx, t, "codes", code)
}

// resets lets either side reset a stream, and looks for life after.
func resets(ctx context.Context, t session, test string, code uint32) error {
	ours, err := playStream(ctx, t, playWait)
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(ours, make([]byte, 1)); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if err := ours.ResetWithError(network.StreamErrorCode(code)); err != nil {
		return err
	}
	command := binary.BigEndian.AppendUint32([]byte{playReset}, code)
	theirs, err := playStream(ctx, t, command...)
	if err != nil {
		return err
	}
	fields := saw(theirs)
	if err := echoOnce(ctx, t, streamBytes); err != nil {
		return fmt.Errorf("echo after: %w", err)
	}
	event(test, fields)
	return nil
}

func testStreams(ctx context.Context, t session) error {
	started := time.Now()
	opened := make([]network.Stream, streams)
	for i := range opened {
		s, err := openStream(ctx, t.h, t.remote.ID, echoProtocol)
		if err != nil {
			return fmt.Errorf("number %d: %w", i+1, err)
		}
		opened[i] = s
	}
	errs := make([]error, streams)
	var echoes sync.WaitGroup
	for i, s := range opened {
		echoes.Add(1)
		go func() {
			defer echoes.Done()
			errs[i] = echoOn(s, streamBytes)
		}()
	}
	echoes.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	event("streams", map[string]any{"streams": streams, "ms": millis(time.Since(started))})
	return nil
}

// testSlow asks for a download and reads it only after the echoes beside it.
func testSlow(ctx context.Context, t session) error {
	slow, err := openStream(ctx, t.h, t.remote.ID, perfProtocol)
	if err != nil {
		return err
	}
	err = errors.Join(binary.Write(slow, binary.BigEndian, uint64(slowBytes)), slow.CloseWrite())
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	started := time.Now()
	for i := range fast {
		if err := echoOnce(ctx, t, echoBytes); err != nil {
			return fmt.Errorf("echo %d beside it: %w", i+1, err)
		}
	}
	fields := map[string]any{"fast": fast, "fast_ms": millis(time.Since(started)), "saw": "end"}
	received, err := readPattern(slow)
	fields["slow"] = received
	if err != nil {
		fields["saw"] = err.Error()
		if errors.Is(err, network.ErrReset) {
			fields["saw"] = "reset"
		}
	}
	event("slow", fields)
	return nil
}

func testBig(ctx context.Context, t session) error {
	up, _, err := exchange(ctx, t, bigBytes, 0)
	if err != nil {
		return fmt.Errorf("up: %w", err)
	}
	_, down, err := exchange(ctx, t, 0, bigBytes)
	if err != nil {
		return fmt.Errorf("down: %w", err)
	}
	started := time.Now()
	uploaded := make(chan error, 1)
	go func() {
		_, _, err := exchange(ctx, t, bigBytes, 0)
		uploaded <- err
	}()
	_, _, err = exchange(ctx, t, 0, bigBytes)
	if err := errors.Join(err, <-uploaded); err != nil {
		return fmt.Errorf("both: %w", err)
	}
	event("big", map[string]any{
		"up": bigBytes, "down": bigBytes, "both": 2 * bigBytes,
		"up_ms": millis(up), "down_ms": millis(down), "both_ms": millis(time.Since(started)),
	})
	return nil
}

// testClose sees the other end close, closes itself, and sees the other end disappear.
func testClose(ctx context.Context, t session) error {
	if _, err := playStream(ctx, t, playQuit); err != nil {
		return err
	}
	if err := gone(t, "their close"); err != nil {
		return err
	}
	if err := t.h.Connect(ctx, t.remote); err != nil {
		return fmt.Errorf("second dial: %w", err)
	}
	// Before it the other end may not know of the connection yet.
	if err := echoOnce(ctx, t, streamBytes); err != nil {
		return fmt.Errorf("echo before our close: %w", err)
	}
	if err := t.h.Network().ClosePeer(t.remote.ID); err != nil {
		return err
	}
	if err := gone(t, "our close"); err != nil {
		return err
	}
	if err := t.h.Connect(ctx, t.remote); err != nil {
		return fmt.Errorf("third dial: %w", err)
	}
	if _, err := playStream(ctx, t, playExit); err != nil {
		return err
	}
	if err := gone(t, disappearance); err != nil {
		return err
	}
	event("close", map[string]any{"ends": 3})
	return nil
}

// gone waits until no connection is left.
func gone(t session, what string) error {
	within := noticeWithin
	if what == disappearance && strings.Contains(t.remote.Addrs[0].String(), "/quic-v1") {
		within = silenceWithin
	}
	for late := time.Now().Add(within); time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
		if len(t.h.Network().ConnsToPeer(t.remote.ID)) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%s was not noticed", what)
}

// testPush lets the other end add a protocol and tell us, and then does so itself.
func testPush(ctx context.Context, t session) error {
	if _, err := awaitIdentify(ctx, t); err != nil {
		return err
	}
	pushes := make(chan []protocol.ID, 16)
	if err := reportPushes(t.h, pushes); err != nil {
		return err
	}
	s, err := playStream(ctx, t, playPush)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, s); err != nil {
		return err
	}
	for {
		select {
		case protocols := <-pushes:
			if !slices.Contains(protocols, addedProtocol) {
				continue
			}
		case <-time.After(noticeWithin):
			return errors.New("nothing was told")
		}
		break
	}
	addProtocol(t.h)
	select {
	case <-stdinClosed():
	case <-time.After(noticeWithin):
	}
	return nil
}

func testMinute(ctx context.Context, t session) error {
	worst := time.Duration(0)
	for done := 0; done < minutePings; {
		// The library's listener ends a stream after half a minute: then there is another.
		stop, cancel := context.WithCancel(ctx)
		results := ping.Ping(stop, t.h, t.remote.ID)
		before := done
		for result := range results {
			if result.Error != nil {
				if done == before {
					cancel()
					return fmt.Errorf("number %d: %w", done+1, result.Error)
				}
				break
			}
			worst = max(worst, result.RTT)
			done++
			if done == minutePings {
				break
			}
			time.Sleep(time.Second)
		}
		cancel()
	}
	event("minute", map[string]any{"pings": minutePings, "worst_ms": millis(worst)})
	return nil
}

func testIdle(ctx context.Context, t session) error {
	before := t.h.Network().ConnsToPeer(t.remote.ID)
	time.Sleep(idle)
	after := t.h.Network().ConnsToPeer(t.remote.ID)
	if len(before) == 0 || len(after) == 0 || before[0].ID() != after[0].ID() {
		return errors.New("the connection ended meanwhile")
	}
	started := time.Now()
	if err := echoOnce(ctx, t, echoBytes); err != nil {
		return fmt.Errorf("echo after: %w", err)
	}
	event("idle", map[string]any{
		"idle_s": idle / time.Second, "bytes": echoBytes, "ms": millis(time.Since(started)),
	})
	return nil
}
