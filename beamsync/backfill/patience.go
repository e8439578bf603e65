// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import "time"

const (
	// firstPatience is how long a walk waits for swarm peers before they have delivered anything: some announcements and a
	// first request.
	firstPatience = time.Second
	// patienceShare is the part of the time of its own requests for which a walk waits in addition, an eighth.
	patienceShare = 8
)

// patience is how long a walk waits for swarm peers while full peers could serve it. Waiting must pay: a walk waits for as long as
// full peers would have taken for what swarm peers delivered, and an eighth of the time that its own requests take, and for no longer
// than that eighth while nothing is delivered. So however slow swarm peers are, they add little more than an eighth to the time
// of the walk's own requests. It is a pure function of what happened.
type patience struct {
	at      time.Time     // up to which time is counted
	working time.Duration // in which needs were at full peers
	waited  time.Duration // in which none were, and the walk waited for swarm peers
	unpaid  time.Duration // of waited, since a swarm peer delivered something last
	full    int           // bytes from full peers, of leaves that were of use, since the rate was measured
	swarm   int           // likewise from swarm peers, in all
	counted time.Duration // of working, since the rate was measured
	rate    float64       // the highest of full peers in a second, in bytes per nanosecond; 0: not known yet

	wasWorking, wasWaiting bool // since at
	spent                  bool // it has ended, and is not back yet
}

// observe counts the time since the last call, and notes what the walk does from now on.
func (p *patience) observe(now time.Time, working, waiting bool) {
	if elapsed := now.Sub(p.at); p.wasWorking {
		p.working += elapsed
		p.counted += elapsed
		p.measure()
	} else if p.wasWaiting {
		p.waited += elapsed
		p.unpaid += elapsed
	}
	p.at, p.wasWorking, p.wasWaiting = now, working, waiting
}

// received counts the bytes of a response.
func (p *patience) received(bytes int, swarm bool) {
	if swarm {
		p.swarm += bytes
		p.unpaid = 0
	} else {
		p.full += bytes
	}
}

// measure takes the rate of full peers. The average would be too low: small requests, one after another, take the time of round
// trips.
func (p *patience) measure() {
	if p.counted < time.Second {
		return
	}
	p.rate = max(p.rate, float64(p.full)/float64(p.counted))
	p.full, p.counted = 0, 0
}

// left is for how much longer to wait.
func (p *patience) left() time.Duration {
	saved, rate := time.Duration(0), p.rate
	if rate == 0 && p.counted > 0 {
		rate = float64(p.full) / float64(p.counted)
	}
	if rate > 0 {
		saved = time.Duration(float64(p.swarm) / rate)
	}
	trust := firstPatience + p.working/patienceShare
	return min(trust+saved-p.waited, trust-p.unpaid)
}

// ended says whether to wait no longer. The patience is back when there is as much of it as at first: otherwise the walk would go
// back and forth, in small requests.
func (p *patience) ended() bool {
	if left := p.left(); left <= 0 {
		p.spent = true
	} else if left >= firstPatience {
		p.spent = false
	}
	return p.spent
}

// leftForStrangers is for how much longer to wait for those that have delivered nothing.
func (p *patience) leftForStrangers() time.Duration { return firstPatience - p.waited }
