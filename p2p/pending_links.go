// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"sync"

	gethp2p "github.com/ethereum/go-ethereum/p2p"
)

// pendingLinks collects the streams of each connection: the server runs every protocol of a
// connection on a goroutine of its own, and runEth needs all of them.
type pendingLinks struct {
	mu   sync.Mutex
	open map[*gethp2p.Peer]*pendingLink
}

type pendingLink struct {
	streams [protocolCount]chan gethp2p.MsgReadWriter // of the satellites; capacity 1
	done    chan struct{}                             // closed when runEth returns
}

func (m *pendingLinks) of(gp *gethp2p.Peer) *pendingLink {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		m.open = make(map[*gethp2p.Peer]*pendingLink)
	}
	if m.open[gp] == nil {
		pending := &pendingLink{done: make(chan struct{})}
		for _, s := range satellites {
			pending.streams[s.protocol] = make(chan gethp2p.MsgReadWriter, 1)
		}
		m.open[gp] = pending
	}
	return m.open[gp]
}

func (m *pendingLinks) end(gp *gethp2p.Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.open[gp].done)
	delete(m.open, gp)
}
