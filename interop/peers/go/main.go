// Command peer is go-libp2p behind the interop command line (interop/README.md).
//
// It prints one JSON object per line on standard output, logs on standard error, and leaves
// with 0 or 1. A listener serves until its standard input closes.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// How long a dialer stays after identify, so that the remote can finish its own.
	linger = 3 * time.Second
)

const usage = `usage:
  peer listen --transport tcp|quic|ws|wss --security plaintext|noise|tls --muxer yamux|mplex [--addr MULTIADDR] [--test TEST]
  peer dial ADDR --transport tcp|quic|ws|wss --security .. --muxer .. --test TEST [--deadline SECONDS]
ADDR of the test mdns is /p2p/ID alone: the listener is found, and --addr is where the dialer listens
both: [--key ed25519|secp256k1|ecdsa|rsa] [--early on|off] [--tls FOLDER] [--swarm-key FILE]; tests: interop/README.md`

// options is the command line. Security and muxer are lists, most wanted first.
type options struct {
	transport string
	security  []string
	muxer     []string
	addr      string
	remote    string // whom to dial
	test      string
	key       string
	early     string
	tls       string
	swarmKey  string
	deadline  time.Duration
}

// unsupported says that go-libp2p does not have what was asked for.
type unsupported struct{ what string }

func (u unsupported) Error() string { return "go does not have " + u.what }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fail(err)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch command, rest := args[0], args[1:]; command {
	case "listen":
		opts, err := parse(rest)
		if err != nil {
			return err
		}
		return listen(opts)
	case "dial":
		if len(rest) == 0 {
			return errors.New(usage)
		}
		opts, err := parse(rest[1:])
		if err != nil {
			return err
		}
		opts.remote = rest[0]
		ctx, cancel := context.WithTimeout(context.Background(), opts.deadline)
		defer cancel()
		return dial(ctx, opts)
	default:
		return errors.New(usage)
	}
}

func parse(args []string) (options, error) {
	var opts options
	var security, muxer string
	flags := flag.NewFlagSet("peer", flag.ContinueOnError)
	flags.StringVar(&opts.transport, "transport", "tcp", "tcp, quic, ws, wss; quic needs no security and no muxer")
	flags.StringVar(&security, "security", "noise", "plaintext, noise, tls; several: comma between")
	flags.StringVar(&muxer, "muxer", "yamux", "yamux, mplex; several: comma between")
	flags.StringVar(&opts.addr, "addr", "/ip4/127.0.0.1/tcp/0", "where to listen")
	flags.StringVar(&opts.test, "test", "ping", "what to do once connected")
	flags.StringVar(&opts.key, "key", "ed25519", "ed25519, secp256k1, ecdsa, rsa")
	flags.StringVar(&opts.early, "early", "on", "muxer negotiation inside the security handshake")
	flags.StringVar(&opts.tls, "tls", "", "for wss, the folder of certificate, key and trusted root")
	flags.StringVar(&opts.swarmKey, "swarm-key", "", "the key file of a private network")
	seconds := flags.Int("deadline", 55, "seconds that a dialer may take for everything")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	opts.security = strings.Split(security, ",")
	opts.muxer = strings.Split(muxer, ",")
	opts.deadline = time.Duration(*seconds) * time.Second
	return opts, nil
}

var output sync.Mutex

// event prints one line for the runner.
func event(name string, fields map[string]any) {
	line := map[string]any{"event": name}
	for key, value := range fields {
		line[key] = value
	}
	output.Lock()
	defer output.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		os.Exit(1) // Nobody listens any more.
	}
}

func fail(err error) {
	fields := map[string]any{"message": err.Error()}
	if errors.As(err, &unsupported{}) {
		fields["unsupported"] = true
	}
	event("error", fields)
	os.Exit(1)
}

// stdinClosed is closed when whoever started us closes our standard input, or dies.
func stdinClosed() <-chan struct{} {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		io.Copy(io.Discard, bufio.NewReader(os.Stdin))
	}()
	return closed
}
