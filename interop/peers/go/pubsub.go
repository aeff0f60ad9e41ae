package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
)

// The pubsub tests: both ends send a series of messages, the listener once it has the dialer's.
const (
	topicName = "p2p-interop"
	burst     = 500
	// Room for a whole series in every queue: a full one drops.
	room = 2048
)

// KiB, after the burst.
var sizes = []int{1, 8, 60, 300, 900}

type flavour struct{ flood, anonymous, lax bool }

var flavours = map[string]flavour{
	"gossip":           {},
	"gossip-chain":     {},
	"gossip-anonymous": {anonymous: true},
	"flood":            {flood: true},
	"flood-anonymous":  {flood: true, anonymous: true},
	"flood-lax":        {flood: true, lax: true},
}

func (f flavour) count() int {
	if f.lax {
		return 1 + burst
	}
	return 1 + burst + len(sizes)
}

type series struct {
	flavour flavour
	letter  byte
	topic   *pubsub.Topic
	sub     *pubsub.Subscription
	spoken  *spoken
}

// spoken is what the library speaks with its peers.
type spoken struct {
	lock      sync.Mutex
	protocols map[string]struct{}
}

// Trace takes down the protocol of each peer: it comes with the peer's stream.
func (s *spoken) Trace(it *pb.TraceEvent) {
	if it.GetType() == pb.TraceEvent_ON_NEW_OUTBOUND_STREAM {
		s.lock.Lock()
		defer s.lock.Unlock()
		s.protocols[it.GetOnNewOutboundStream().GetProto()] = struct{}{}
	}
}

func (s *spoken) list() []string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return slices.Sorted(maps.Keys(s.protocols))
}

func newSeries(ctx context.Context, h host.Host, f flavour, letter byte) (*series, error) {
	spoken := &spoken{protocols: make(map[string]struct{})}
	options := []pubsub.Option{
		pubsub.WithEventTracer(spoken),
		pubsub.WithPeerOutboundQueueSize(room),
		pubsub.WithValidateQueueSize(room),
	}
	switch {
	case f.anonymous:
		options = append(options,
			pubsub.WithNoAuthor(),
			pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
			pubsub.WithMessageIdFn(contentID))
	case f.lax:
		options = append(options, pubsub.WithMessageSignaturePolicy(pubsub.LaxNoSign))
	}
	create := pubsub.NewGossipSub
	if f.flood {
		create = pubsub.NewFloodSub
	} else {
		// As the others by default. Without it what is published between the first subscriber and
		// the first mesh reaches nobody.
		options = append(options, pubsub.WithFloodPublish(true))
	}
	ps, err := create(ctx, h, options...)
	if err != nil {
		return nil, err
	}
	topic, err := ps.Join(topicName)
	if err != nil {
		return nil, err
	}
	sub, err := topic.Subscribe(pubsub.WithBufferSize(room))
	if err != nil {
		return nil, err
	}
	return &series{f, letter, topic, sub, spoken}, nil
}

func contentID(m *pb.Message) string {
	digest := sha256.New()
	digest.Write([]byte(m.GetTopic()))
	digest.Write([]byte{0})
	digest.Write(m.GetData())
	return string(digest.Sum(nil))
}

func (s *series) dial(ctx context.Context) error {
	if err := s.send(ctx); err != nil {
		return err
	}
	return s.receive(ctx, 'L')
}

func (s *series) listen(ctx context.Context) error {
	if err := s.receive(ctx, 'D'); err != nil {
		return err
	}
	return s.send(ctx)
}

func (s *series) send(ctx context.Context) error {
	// Not WithReadiness: that is content with a subscription, and what is published before our own
	// stream to the subscriber is open is lost.
	for len(s.topic.ListPeers()) == 0 {
		select {
		case <-ctx.Done():
			return errors.New("nobody subscribed")
		case <-time.After(5 * time.Millisecond):
		}
	}
	for index := range s.flavour.count() {
		if err := s.topic.Publish(ctx, payload(s.letter, index)); err != nil {
			return fmt.Errorf("publish %d: %w", index, err)
		}
	}
	return nil
}

func (s *series) receive(ctx context.Context, letter byte) error {
	got := make(map[int]bool)
	for len(got) < s.flavour.count() {
		message, err := s.sub.Next(ctx)
		if err != nil {
			return fmt.Errorf("after %d messages: %w", len(got), err)
		}
		if message.Data[0] == s.letter {
			continue
		}
		if len(message.Data) < 5 {
			return errors.New("a message without an index")
		}
		index := int(binary.BigEndian.Uint32(message.Data[1:5]))
		if index >= s.flavour.count() || !bytes.Equal(message.Data, payload(letter, index)) {
			return fmt.Errorf("message %d is wrong", index)
		}
		if got[index] {
			return fmt.Errorf("message %d came twice", index)
		}
		got[index] = true
	}
	event("pubsub", map[string]any{"received": len(got), "protocols": s.spoken.list()})
	return nil
}

func payload(letter byte, index int) []byte {
	size := 64
	switch {
	case index > burst:
		size = sizes[index-burst-1] * 1024
	case index > 0:
		size = 1024
	}
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i % patternModulus)
	}
	data[0] = letter
	binary.BigEndian.PutUint32(data[1:5], uint32(index))
	return data
}
