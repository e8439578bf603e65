// SPDX-License-Identifier: LGPL-3.0-or-later

package sched

import "time"

// slowRTT is the round trip above which a peer that serves is slow. An untried peer may
// well be faster.
const slowRTT = time.Second

// peerState is how far the scheduler trusts a peer. The package documentation has the table
// of what a peer is sent in each state and of what makes it leave the state.
//
// The events of a peer are its methods onReply, onFailure and becomeTimingOut. Nothing else
// changes the state. Between two Steps these hold:
//
//	untried     no request has ended: no round trip, no back-off, no served root, score 1
//	probing     it never served anything, or its score is below trustScore
//	trusted     it served something, score at least trustScore, round trip at most slowRTT
//	slow        it served something, score at least trustScore, round trip above slowRTT
//	timing out  nothing of that is implied
type peerState uint8

const (
	stateUntried   peerState = iota // no request to it has ended
	stateProbing                    // it does not serve, as far as is known
	stateTrusted                    // it serves
	stateSlow                       // it serves, but an untried peer may be faster
	stateTimingOut                  // it has not replied since a request to it timed out
)

// trusts says whether the peer is sent queued wants and hedges before others. While some
// peer is untried, slow peers are not: the untried one may be faster.
func (s *Scheduler) trusts(p *peer) bool {
	switch p.state {
	case stateTrusted:
		return true
	case stateSlow:
		return !s.hasUntried
	}
	return false
}

// onReply moves the peer to the state that its record calls for, after the record has taken
// in a reply. Any reply ends stateTimingOut.
func (p *peer) onReply() {
	switch {
	case !p.serves():
		p.becomeProbing()
	case p.rtt > slowRTT:
		p.becomeSlow()
	default:
		p.becomeTrusted()
	}
}

// onFailure does the same after a request that ended without a reply, other than by a
// timeout. It does not end stateTimingOut.
func (p *peer) onFailure() {
	if p.state != stateTimingOut && !p.serves() {
		p.becomeProbing()
	}
}

// serves says whether the peer served something and mostly still does.
func (p *peer) serves() bool { return len(p.servedRoots) > 0 && p.score >= trustScore }

// becomeProbing enters stateProbing: probes tell when the peer serves, or serves again.
func (p *peer) becomeProbing() { p.state = stateProbing }

// becomeTrusted enters stateTrusted: the peer is sent what there is to send.
func (p *peer) becomeTrusted() { p.state = stateTrusted }

// becomeSlow enters stateSlow: the peer is sent what there is to send unless some other
// peer is untried.
func (p *peer) becomeSlow() { p.state = stateSlow }

// becomeTimingOut enters stateTimingOut, also from itself, after a request that was not
// answered within the given time. The requests in flight may have been too many, so it
// halves the window.
func (p *peer) becomeTimingOut(took time.Duration) {
	p.state = stateTimingOut
	p.rate(0)
	p.rtt = max(p.rtt, took)
	p.windowLimit = max(p.windowLimit/2, minWindow)
}
