// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"

	gethp2p "github.com/ethereum/go-ethereum/p2p"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// peerEventsAPI is the subscription to events of peers (admin_subscribe).
type peerEventsAPI struct {
	logs *logAPI
	feed *eventFeed
}

// PeerEvents announces which peers connect and disconnect.
func (api *peerEventsAPI) PeerEvents(ctx context.Context) (*gethrpc.Subscription, error) {
	return api.logs.subscribe(ctx, api.feed, api.logs.b.Network != nil, interest{})
}

// runPeers queues the events of peers until ctx ends, then closes the feed.
func (f *eventFeed) runPeers(ctx context.Context, network Network) error {
	return runFeed(ctx, f, network.SubscribeEvents, func(ev *gethp2p.PeerEvent) feedEvent { return feedEvent{value: ev} })
}
