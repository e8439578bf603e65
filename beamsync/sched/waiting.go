package sched

import "time"

// Waiting says what the longest-waiting want of a class waits for.
type Waiting struct {
	ID       WantID
	Age      time.Duration
	Queued   int // wants of that class or higher that are in no request
	InFlight int // and those that are
	Peers    int // that serve state
	Blocked  int // of these: in back-off under the want's root
	Lapsed   int // of these: their last request timed out
}

// Reason puts it in words.
func (w Waiting) Reason() string {
	switch {
	case w.Peers == 0:
		return "no peers that serve state"
	case w.Blocked == w.Peers && w.Lapsed == w.Peers:
		return "all peers time out"
	case w.Blocked == w.Peers:
		return "all peers answered empty under this state root"
	case w.Lapsed > 0:
		return "peers time out"
	case w.Queued > 0 && w.InFlight == 0:
		return "peers that were asked do not have it"
	}
	return "peers are slow"
}

// Waiting describes the oldest want of that class or a higher one; false if there is none.
func (s *Scheduler) Waiting(now time.Time, class Class) (Waiting, bool) {
	var (
		oldest *want
		v      Waiting
	)
	for _, w := range s.wants {
		if w.Class < class {
			continue
		}
		if w.queue != nil {
			v.Queued++
		} else {
			v.InFlight++
		}
		if oldest == nil || w.added.Before(oldest.added) || w.added.Equal(oldest.added) && w.ID < oldest.ID {
			oldest = w
		}
	}
	if oldest == nil {
		return v, false
	}
	v.ID, v.Age = oldest.ID, now.Sub(oldest.added)
	for _, p := range s.peers {
		if p.gone || p.lack[oldest.Kind] {
			continue
		}
		v.Peers++
		if p.blockedUntil(oldest.Root).After(now) {
			v.Blocked++
		}
		if p.lapses > 0 {
			v.Lapsed++
		}
	}
	return v, true
}
