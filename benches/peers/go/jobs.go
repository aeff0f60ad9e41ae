package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
)

// warmUp bytes are moved before anything is measured.
const warmUp = 8 << 20

// measure runs one job and returns what it came to.
func measure(opts options) (map[string]any, error) {
	h, err := newHost(opts)
	if err != nil {
		return nil, err
	}
	var said map[string]any
	switch opts.job {
	case "conn":
		said, err = conn(opts)
	case "idle-conns":
		said, err = idleConns(opts)
	default:
		var c connection
		if c, err = connect(h, opts.addr); err != nil {
			return nil, err
		}
		switch opts.job {
		case "bulk":
			said, err = bulk(c, opts)
		case "rpc":
			said, err = rpc(c, opts)
		case "pingpong":
			said, err = pingpong(c, opts)
		case "first-byte":
			said, err = firstByteJob(opts)
		case "idle-streams":
			said, err = idleStreams(c, opts)
		default:
			err = fmt.Errorf("no job %s", opts.job)
		}
	}
	if err != nil {
		return nil, err
	}
	said["dialer_peak_mib"] = round(memory(0, "VmHWM") / (1 << 20))
	if opts.listenerPID != 0 {
		said["listener_peak_mib"] = round(memory(opts.listenerPID, "VmHWM") / (1 << 20))
	}
	return said, nil
}

// inParallel runs workers and returns the first error.
func inParallel(workers int, work func(index int) error) error {
	errs := make(chan error, workers)
	for index := range workers {
		go func() { errs <- work(index) }()
	}
	var first error
	for range workers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func bulk(c connection, opts options) (map[string]any, error) {
	said := map[string]any{}
	for _, dir := range []string{"up", "down"} {
		if !strings.Contains(opts.dir, dir) {
			continue
		}
		if err := moveAll(c, opts, dir, min(warmUp, opts.bytes/8)); err != nil {
			return nil, err
		}
		m := start(opts.listenerPID)
		if err := moveAll(c, opts, dir, opts.bytes); err != nil {
			return nil, err
		}
		wall, dialer, listener := m.read()
		gib := float64(opts.bytes) / (1 << 30)
		said[dir] = map[string]any{
			"gib_s":         round(gib / wall),
			"cpu_s_per_gib": round((dialer + listener) / gib),
			"cpu_dialer":    round(dialer / gib),
			"cpu_listener":  round(listener / gib),
		}
	}
	return said, nil
}

func moveAll(c connection, opts options, dir string, bytes int64) error {
	share := bytes / int64(opts.streams)
	return inParallel(opts.streams, func(int) error {
		stream, err := c.open(perfProtocol)
		if err != nil {
			return err
		}
		if dir == "up" {
			return up(stream, share, opts.chunk)
		}
		return down(stream, share)
	})
}

func up(stream network.Stream, bytes int64, chunk int) error {
	if _, err := stream.Write(make([]byte, 8)); err != nil {
		return err
	}
	if err := writeBytes(stream, bytes, chunk); err != nil {
		return err
	}
	if err := stream.CloseWrite(); err != nil {
		return err
	}
	// The listener closes its side when it has read everything.
	extra, err := drain(stream)
	if err == nil && extra > 0 {
		err = fmt.Errorf("asked for nothing and got %d bytes", extra)
	}
	return err
}

func down(stream network.Stream, bytes int64) error {
	if _, err := stream.Write(binary.BigEndian.AppendUint64(nil, uint64(bytes))); err != nil {
		return err
	}
	if err := stream.CloseWrite(); err != nil {
		return err
	}
	got, err := drain(stream)
	if err == nil && got != bytes {
		err = fmt.Errorf("got %d bytes of %d", got, bytes)
	}
	return err
}

// samples collects what tasks have measured.
type samples struct {
	lock  sync.Mutex
	taken []time.Duration
}

func (s *samples) add(more []time.Duration) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.taken = append(s.taken, more...)
}

func report(m meter, taken []time.Duration, rate, cpu string) map[string]any {
	wall, dialer, listener := m.read()
	count := float64(len(taken))
	return map[string]any{
		rate:      round(count / wall),
		cpu:       round((dialer + listener) * 1e6 / count),
		"latency": percentiles(taken),
	}
}

func conn(opts options) (map[string]any, error) {
	workers := or(opts.concurrency, 1)
	var left atomic.Int64
	left.Store(int64(or(opts.n, 1000)))
	var all samples
	var m meter
	// The first connection of each host pays for what is made once.
	var warm sync.WaitGroup
	warm.Add(workers)
	begin := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- inParallel(workers, func(int) error {
			h, err := newHost(opts)
			if err == nil {
				_, err = once(h, opts)
			}
			warm.Done()
			if err != nil {
				return err
			}
			<-begin
			var mine []time.Duration
			for left.Add(-1) >= 0 {
				took, err := once(h, opts)
				if err != nil {
					return err
				}
				mine = append(mine, took)
			}
			all.add(mine)
			return nil
		})
	}()
	warm.Wait()
	m = start(opts.listenerPID)
	close(begin)
	if err := <-done; err != nil {
		return nil, err
	}
	return report(m, all.taken, "conn_s", "cpu_us_per_conn"), nil
}

// once connects, waits until ready, and hangs up; returns how long it took to be ready.
func once(h host.Host, opts options) (time.Duration, error) {
	started := time.Now()
	c, err := connect(h, opts.addr)
	if err != nil {
		return 0, err
	}
	if opts.ready == "first-byte" {
		if err := firstByte(c); err != nil {
			return 0, err
		}
	}
	took := time.Since(started)
	return took, c.close()
}

func firstByte(c connection) error {
	stream, err := c.open(echoProtocol)
	if err != nil {
		return err
	}
	return ask(stream, []byte{1})
}

// ask writes a question, ends, and expects the same back.
func ask(stream network.Stream, question []byte) error {
	if _, err := stream.Write(question); err != nil {
		return err
	}
	if err := stream.CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(stream)
	if err == nil && len(answer) != len(question) {
		err = fmt.Errorf("asked %d bytes, got %d back", len(question), len(answer))
	}
	return err
}

func rpc(c connection, opts options) (map[string]any, error) {
	count, size := or(opts.n, 20_000), or(opts.size, 100)
	if _, err := requests(c, count/20+1, opts.inflight, size); err != nil {
		return nil, err
	}
	m := start(opts.listenerPID)
	taken, err := requests(c, count, opts.inflight, size)
	if err != nil {
		return nil, err
	}
	return report(m, taken, "req_s", "cpu_us_per_req"), nil
}

func requests(c connection, count, inflight, size int) ([]time.Duration, error) {
	var left atomic.Int64
	left.Store(int64(count))
	var all samples
	err := inParallel(inflight, func(int) error {
		question := make([]byte, size)
		var mine []time.Duration
		for left.Add(-1) >= 0 {
			started := time.Now()
			stream, err := c.open(echoProtocol)
			if err == nil {
				err = ask(stream, question)
			}
			if err != nil {
				return err
			}
			mine = append(mine, time.Since(started))
		}
		all.add(mine)
		return nil
	})
	return all.taken, err
}

func pingpong(c connection, opts options) (map[string]any, error) {
	count, size := or(opts.n, 20_000), or(opts.size, 32)
	stream, err := c.open(echoProtocol)
	if err != nil {
		return nil, err
	}
	if _, err := rounds(stream, count/20+1, size); err != nil {
		return nil, err
	}
	m := start(opts.listenerPID)
	taken, err := rounds(stream, count, size)
	if err != nil {
		return nil, err
	}
	return report(m, taken, "req_s", "cpu_us_per_req"), nil
}

func rounds(stream network.Stream, count, size int) ([]time.Duration, error) {
	question, answer := make([]byte, size), make([]byte, size)
	taken := make([]time.Duration, 0, count)
	for range count {
		started := time.Now()
		if _, err := stream.Write(question); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(stream, answer); err != nil {
			return nil, err
		}
		taken = append(taken, time.Since(started))
	}
	return taken, nil
}

func firstByteJob(opts options) (map[string]any, error) {
	var steps [3][]time.Duration
	for range or(opts.n, 5) {
		h, err := newHost(opts)
		if err != nil {
			return nil, err
		}
		started := time.Now()
		c, err := connect(h, opts.addr)
		if err != nil {
			return nil, err
		}
		established := time.Since(started)
		if err := firstByte(c); err != nil {
			return nil, err
		}
		first := time.Since(started)
		started = time.Now()
		if err := firstByte(c); err != nil {
			return nil, err
		}
		for step, took := range []time.Duration{established, first, time.Since(started)} {
			steps[step] = append(steps[step], took)
		}
		h.Close()
	}
	said := map[string]any{}
	for step, name := range []string{"established", "first_byte", "second_stream"} {
		slices.Sort(steps[step])
		ms := steps[step][len(steps[step])/2].Seconds() * 1000
		said[name] = map[string]any{"ms": round(ms), "rtts": round(ms / opts.rttMS)}
	}
	return said, nil
}

func idleConns(opts options) (map[string]any, error) {
	count, concurrency := or(opts.n, 1000), or(opts.concurrency, 50)
	first, err := connectMany(opts, 20, 10)
	if err != nil {
		return nil, err
	}
	for _, c := range first {
		c.host.Close()
	}
	time.Sleep(time.Second)
	before := memory(opts.listenerPID, "RssAnon")
	held, err := connectMany(opts, count, concurrency)
	if err != nil {
		return nil, err
	}
	for _, c := range held {
		if err := firstByte(c); err != nil {
			return nil, err
		}
	}
	sleep(opts.settle)
	after := memory(opts.listenerPID, "RssAnon")
	m := start(opts.listenerPID)
	sleep(opts.idle)
	wall, _, listener := m.read()
	return map[string]any{
		"listener_bytes_per_conn": round((after - before) / float64(count)),
		"idle_cpu":                round(listener / max(wall, 0.001)),
	}, nil
}

// connectMany connects count times, each time from a host of its own.
func connectMany(opts options, count, concurrency int) ([]connection, error) {
	held := make([]connection, count)
	for from := 0; from < count; from += concurrency {
		err := inParallel(min(concurrency, count-from), func(index int) error {
			h, err := newHost(opts)
			if err != nil {
				return err
			}
			held[from+index], err = connect(h, opts.addr)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return held, nil
}

func idleStreams(c connection, opts options) (map[string]any, error) {
	count := or(opts.n, 10_000)
	held := []connection{c}
	for len(held) < opts.conns {
		h, err := newHost(opts)
		if err != nil {
			return nil, err
		}
		more, err := connect(h, opts.addr)
		if err != nil {
			return nil, err
		}
		held = append(held, more)
	}
	for _, c := range held {
		if err := firstByte(c); err != nil {
			return nil, err
		}
	}
	sleep(opts.settle)
	beforeListener, beforeDialer := memory(opts.listenerPID, "RssAnon"), memory(0, "RssAnon")
	open := make([]network.Stream, 0, count)
	for len(open) < count {
		c := held[len(open)%len(held)]
		stream, err := c.open(holdProtocol)
		if err == nil {
			_, err = stream.Write([]byte{1})
		}
		// The listener has to keep up: a backlog is not what is measured.
		if err == nil && len(open)%32 == 0 {
			err = firstByte(c)
		}
		if err != nil {
			return nil, err
		}
		open = append(open, stream)
	}
	sleep(opts.settle)
	each := func(before float64, pid int) float64 {
		return round((memory(pid, "RssAnon") - before) / float64(count))
	}
	return map[string]any{
		"listener_bytes_per_stream": each(beforeListener, opts.listenerPID),
		"dialer_bytes_per_stream":   each(beforeDialer, 0),
	}, nil
}

func sleep(seconds float64) {
	time.Sleep(time.Duration(seconds * float64(time.Second)))
}
