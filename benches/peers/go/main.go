// The benchmark's node over go-libp2p: see ../../README.md for its flags and what it prints.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// options are the flags of both commands; each job takes those that concern it.
type options struct {
	stack       string
	addr        string
	behaviours  string
	maxStreams  int
	chunk       int
	listenerPID int
	job         string
	streams     int
	bytes       int64
	dir         string
	n           int
	concurrency int
	ready       string
	inflight    int
	size        int
	rttMS       float64
	conns       int
	settle      float64
	idle        float64
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("listen or dial?")
	}
	opts, err := parse(args[1:])
	if err != nil {
		return err
	}
	switch args[0] {
	case "listen":
		return listen(opts)
	case "dial":
		said, err := measure(opts)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(said)
	default:
		return fmt.Errorf("no command %s", args[0])
	}
}

func parse(args []string) (options, error) {
	var opts options
	var bytes, chunk string
	set := flag.NewFlagSet("peer", flag.ContinueOnError)
	set.StringVar(&opts.stack, "stack", "tcp+noise+yamux", "")
	set.StringVar(&opts.addr, "addr", "/ip4/127.0.0.1/tcp/0", "")
	set.StringVar(&opts.behaviours, "behaviours", "min", "")
	set.IntVar(&opts.maxStreams, "max-streams", 0, "")
	set.StringVar(&chunk, "chunk", "64k", "")
	set.IntVar(&opts.listenerPID, "listener-pid", 0, "")
	set.StringVar(&opts.job, "job", "bulk", "")
	set.IntVar(&opts.streams, "streams", 1, "")
	set.StringVar(&bytes, "bytes", "1g", "")
	set.StringVar(&opts.dir, "dir", "up,down", "")
	set.IntVar(&opts.n, "n", 0, "")
	set.IntVar(&opts.concurrency, "concurrency", 0, "")
	set.StringVar(&opts.ready, "ready", "first-byte", "")
	set.IntVar(&opts.inflight, "inflight", 1, "")
	set.IntVar(&opts.size, "size", 0, "")
	set.Float64Var(&opts.rttMS, "rtt-ms", 50, "")
	set.IntVar(&opts.conns, "conns", 1, "")
	set.Float64Var(&opts.settle, "settle", 5, "")
	set.Float64Var(&opts.idle, "idle", 0, "")
	// A runtime has as many threads as GOMAXPROCS; streams are always negotiated lazily.
	set.Int("threads", 1, "")
	set.String("mss", "lazy", "")
	set.String("runtime", "go", "")
	if err := set.Parse(args); err != nil {
		return opts, err
	}
	var err error
	if opts.bytes, err = parseSize(bytes); err != nil {
		return opts, err
	}
	perWrite, err := parseSize(chunk)
	opts.chunk = int(perWrite)
	return opts, err
}

// parseSize reads a number of bytes: 100, 64k, 256m, 1g.
func parseSize(text string) (int64, error) {
	shift := 0
	switch {
	case strings.HasSuffix(text, "k"):
		shift = 10
	case strings.HasSuffix(text, "m"):
		shift = 20
	case strings.HasSuffix(text, "g"):
		shift = 30
	}
	number, err := strconv.ParseInt(strings.TrimRight(text, "kmg"), 10, 64)
	return number << shift, err
}

func or(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}
