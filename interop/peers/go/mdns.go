package main

import (
	"context"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

// found keeps whom the local network told of. One pair has the network for itself.
type found chan peer.AddrInfo

func (f found) HandlePeerFound(info peer.AddrInfo) {
	select {
	case f <- info:
	default:
	}
}

// discover tells the local network of the host, and the host of the network.
func discover(h host.Host) (found, error) {
	peers := make(found, 64)
	return peers, mdns.NewMdnsService(h, mdns.ServiceName, peers).Start()
}

// find waits until the local network tells where a peer is.
func find(ctx context.Context, h host.Host, wanted peer.ID) (*peer.AddrInfo, error) {
	peers, err := discover(h)
	if err != nil {
		return nil, err
	}
	for {
		select {
		case info := <-peers:
			if info.ID != wanted {
				continue
			}
			addrs := make([]string, 0, len(info.Addrs))
			for _, addr := range info.Addrs {
				addrs = append(addrs, addr.String())
			}
			event("found", map[string]any{"peer": info.ID.String(), "addrs": addrs})
			return &info, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
