package p2p

import (
	"math/rand/v2"
	"sync"
	"time"
)

// maxLate is how many cancelled requests of a peer are remembered, so that their
// responses are not taken for unrequested ones.
const maxLate = 4096

// flight is one request in flight.
type flight struct {
	expect message
	sent   time.Time
	reply  chan []byte // capacity 1, written at most once: delivering never waits
}

// flights are the requests in flight of one peer. An id is in open, in late or in
// neither, and it is answered at most once.
type flights struct {
	mu      sync.Mutex
	open    map[uint64]*flight
	late    map[uint64]*flight // cancelled by us, response still to come
	order   []uint64           // ids that went to late, oldest first; at most maxLate
	latency time.Duration      // moving average over responses, zero before the first
}

// add registers a request under an id that the peer cannot guess.
func (f *flights) add(expect message) (uint64, *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open, f.late = make(map[uint64]*flight), make(map[uint64]*flight)
	}
	for {
		id := rand.Uint64()
		if f.open[id] == nil && f.late[id] == nil {
			fl := &flight{expect: expect, sent: time.Now(), reply: make(chan []byte, 1)}
			f.open[id] = fl
			return id, fl
		}
	}
}

// forget removes a request that was not sent.
func (f *flights) forget(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, id)
}

// abandon marks a request that was sent and that nobody waits for any more.
func (f *flights) abandon(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.open[id]
	if fl == nil {
		return // answered meanwhile
	}
	delete(f.open, id)
	f.late[id] = fl
	if f.order = append(f.order, id); len(f.order) > maxLate {
		delete(f.late, f.order[0])
		f.order = f.order[1:]
	}
}

// deliver hands a response to whoever waits for it, or drops it if nobody does any more.
// It returns false when the response answers no request of ours.
func (f *flights) deliver(id uint64, msg message, payload []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.open[id]; fl != nil && fl.expect == msg {
		delete(f.open, id)
		f.measureLocked(time.Since(fl.sent))
		fl.reply <- payload
		return true
	}
	if fl := f.late[id]; fl != nil && fl.expect == msg {
		delete(f.late, id)
		f.measureLocked(time.Since(fl.sent))
		return true
	}
	return false
}

// measureLocked moves the average by an eighth towards the newest time, as TCP does.
func (f *flights) measureLocked(took time.Duration) {
	if f.latency == 0 {
		f.latency = took
		return
	}
	f.latency += (took - f.latency) / 8
}

func (f *flights) measured() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latency
}
