// Command chat is a chat with go-libp2p: every line of standard input goes out, what others write
// is shown.
//
// go run ./chat TOPIC ADDR: docs/chat.md
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, name, addr string) error {
	host, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableRelay())
	if err != nil {
		return err
	}
	ps, err := pubsub.NewGossipSub(ctx, host)
	if err != nil {
		return err
	}
	topic, err := ps.Join(name)
	if err != nil {
		return err
	}
	messages, err := topic.Subscribe()
	if err != nil {
		return err
	}
	remote, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return err
	}
	if err := host.Connect(ctx, *remote); err != nil {
		return err
	}
	for len(topic.ListPeers()) == 0 {
		time.Sleep(50 * time.Millisecond)
	}
	fmt.Println("joined")
	go show(ctx, messages, host.ID())
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := topic.Publish(ctx, lines.Bytes()); err != nil {
			return err
		}
	}
	// What was published is still on its way.
	time.Sleep(time.Second)
	return lines.Err()
}

func show(ctx context.Context, messages *pubsub.Subscription, own peer.ID) {
	for {
		message, err := messages.Next(ctx)
		if err != nil {
			return
		}
		if author := message.GetFrom(); author != own {
			text := author.String()
			fmt.Printf("%s: %s\n", text[len(text)-8:], message.Data)
		}
	}
}
