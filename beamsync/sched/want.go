// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import (
	"slices"
	"time"
)

// want is a Want and where it is: in exactly one queue, or in at least one request.
type want struct {
	Want
	added      time.Time
	queue      *queue      // nil if and only if requests is not empty
	requests   []*request  // in flight, oldest first, at most maxRequests, to different peers
	unanswered int         // requests that ended without satisfying it
	avoid      []avoidance // one for each peer at most
}

// isAt says whether the want is in flight to the peer.
func (w *want) isAt(p *peer) bool {
	return slices.ContainsFunc(w.requests, func(r *request) bool { return r.peer == p })
}
