// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"errors"
	"time"
)

// strangeInterval is how often a static peer of another network is logged: it is dialed again twice a minute.
const strangeInterval = time.Hour

// strangeness is what was logged last about a static peer of another network.
type strangeness struct {
	reason string
	at     time.Time
}

// reportStrange logs that a static or trusted peer is of another network, genesis or fork: somebody named it, and it would never
// join, without a word. It is logged again when the reason changes, or after strangeInterval.
func (h *Host) reportStrange(link *Link, err error, now time.Time) {
	var violation *ProtocolError
	if !link.Pinned || !errors.As(err, &violation) || violation.Kind != KindIncompatible {
		return
	}
	reason := violation.Err.Error()
	h.mu.Lock()
	last := h.strange[link.ID]
	fresh := last.reason != reason || now.Sub(last.at) >= strangeInterval
	if fresh {
		h.strange[link.ID] = strangeness{reason, now}
	}
	h.mu.Unlock()
	if fresh {
		h.log.Warn("Static peer is of another network: not connected", "peer", link.ID, "name", link.Name, "has", reason)
	}
}
