// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"log/slog"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/internal/simnet"
	"github.com/sunbeam-eth/sunbeam/p2p"
)

// inMemory connects two peers by a link in memory: exact in a bubble.
func inMemory(rtt time.Duration) Connect {
	return func(ctx context.Context, group *errgroup.Group, id string, client, server p2p.PeerConfig) error {
		link := simnet.Link{Delay: rtt / 2}
		ethA, ethB := simnet.Pipe(link)
		snapA, snapB := simnet.Pipe(link)
		hangUp := func(gethp2p.DiscReason) { ethA.Close(); snapA.Close() }
		a := p2p.NewPeer(p2p.Link{ID: id, Version: 71, Eth: ethA, Snap: snapA, Close: hangUp}, client)
		b := p2p.NewPeer(p2p.Link{ID: "client", Version: 71, Eth: ethB, Snap: snapB, Close: hangUp}, server)
		for _, peer := range []*p2p.Peer{a, b} {
			group.Go(func() error {
				err := peer.Run(ctx)
				if ctx.Err() != nil {
					return nil //nolint:nilerr // which of the two ends first decides what the other one sees
				}
				return err
			})
		}
		return nil
	}
}

// overLoopback connects two devp2p hosts by TCP on loopback, behind a proxy that delays if rtt
// is not zero.
func overLoopback(rtt time.Duration) Connect {
	return func(ctx context.Context, group *errgroup.Group, _ string, client, server p2p.PeerConfig) error {
		serving, err := newHost(server, nil)
		if err != nil {
			return err
		}
		group.Go(func() error { return serving.Run(ctx) })
		select {
		case <-serving.Started():
		case <-ctx.Done():
			return ctx.Err()
		}
		node := serving.Self()
		if rtt > 0 {
			proxy, err := simnet.Listen(ctx, tcpAddress(node), simnet.Link{Delay: rtt / 2}, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			group.Go(func() error { return proxy.Run(ctx) })
			if node, err = atAddress(node, proxy.Addr()); err != nil {
				return err
			}
		}
		asking, err := newHost(client, node)
		if err != nil {
			return err
		}
		group.Go(func() error { return asking.Run(ctx) })
		return nil
	}
}

func newHost(cfg p2p.PeerConfig, static *enode.Node) (*p2p.Host, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	host := p2p.Config{
		PrivateKey: key,
		Name:       "beambench",
		ListenAddr: "127.0.0.1:0",
		MaxPeers:   4,
		Discovery:  p2p.Discovery{NoDiscovery: true},
		NetworkID:  cfg.NetworkID,
		Chain:      cfg.Chain,
		State:      cfg.State,
		OnJoin:     cfg.OnJoin,
		OnLeave:    cfg.OnLeave,
		Log:        cfg.Log,
	}
	if static != nil {
		host.StaticNodes = []*enode.Node{static}
	}
	return p2p.New(host)
}
