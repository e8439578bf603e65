package beamsync

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// settling is how long who waits for parcels waits on after something came: replies come in
// bursts, and each run costs computing.
const settling = time.Millisecond

// parcel is what was asked for at once.
type parcel struct {
	mu        sync.Mutex
	over      bool // nothing more will come
	listeners []chan<- struct{}
}

// listen makes the parcel tell when something came, unless it is over.
func (p *parcel) listen(news chan<- struct{}) (open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over && !slices.Contains(p.listeners, news) {
		p.listeners = append(p.listeners, news)
	}
	return !p.over
}

// tell wakes the listeners.
func (p *parcel) tell(over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = p.over || over
	for _, news := range p.listeners {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

// ask sends what nobody asked for before, and returns the parcels that the rest of it, and what was
// sent now, is in. What is only likely is not among them.
func (r *collection) ask(ctx context.Context, w wishes) []*parcel {
	var (
		fresh wishes
		mine  = new(parcel)
		waits []*parcel
		place = make(map[common.Hash]int) // of a fault among the fresh ones
	)
	r.mu.Lock()
	add := func(fault trie.Fault, likely bool) {
		// A slot that was asked for with its account, or is asked for now, is not asked for as
		// likely again: the peer knows the slot by account and key.
		if fault.Owner != (common.Hash{}) && fault.Key != nil {
			if slot := crypto.Keccak256Hash(fault.Owner[:], fault.Key); !r.claim(slot, mine, true, nil) && likely {
				return
			}
		}
		id := crypto.Keccak256Hash(fault.Hash[:], fault.Owner[:], fault.Key)
		send := r.claim(id, mine, likely, &waits)
		var riders []common.Hash
		if len(fault.Riders) > 0 {
			owner := fault.Account()
			for _, key := range fault.Riders {
				if r.claim(crypto.Keccak256Hash(owner[:], trie.Nibbles(key)), mine, true, nil) {
					riders = append(riders, key)
				}
			}
		}
		if !send && len(riders) == 0 {
			return
		}
		if at, there := place[id]; there {
			fresh.faults[at].Riders = append(fresh.faults[at].Riders, riders...)
			return
		}
		place[id] = len(fresh.faults)
		fault.Riders = riders
		fresh.faults = append(fresh.faults, fault)
	}
	for _, fault := range w.faults {
		add(fault, false)
	}
	for _, fault := range w.likely {
		add(fault, true)
	}
	for _, hash := range w.codes {
		if r.claim(hash, mine, false, &waits) {
			fresh.codes = append(fresh.codes, hash)
		}
	}
	for _, hash := range w.likelyCodes {
		if r.claim(hash, mine, true, nil) {
			fresh.codes = append(fresh.codes, hash)
		}
	}
	if w.below != nil && r.claim(w.below.hash, mine, false, &waits) {
		fresh.below = w.below
	}
	r.mu.Unlock()

	if len(fresh.faults)+len(fresh.codes) > 0 || fresh.below != nil {
		r.sends.Go(func() error {
			defer mine.tell(true)
			if err := r.send(ctx, fresh, func() { mine.tell(false) }); ctx.Err() == nil {
				return err
			}
			return nil
		})
	}
	return waits
}

// claim says whether nobody asked for something before, and notes who did.
func (r *collection) claim(id common.Hash, mine *parcel, likely bool, waits *[]*parcel) bool {
	asked, before := r.asked[id]
	if !before {
		asked = mine
		r.asked[id] = mine
	}
	if !likely && !slices.Contains(*waits, asked) {
		*waits = append(*waits, asked)
	}
	return !before
}

// send fetches wishes, nodes and codes beside a header.
func (r *collection) send(ctx context.Context, w wishes, news func()) error {
	var both errgroup.Group
	if w.below != nil {
		both.Go(func() error {
			_, _ = r.headers.Header(ctx, w.below.hash, w.below.number) // the execution will say
			news()
			return nil
		})
	}
	if len(w.faults)+len(w.codes) > 0 {
		both.Go(func() error { return r.session.Hint(ctx, spread(w.faults), w.codes, news) })
	}
	return both.Wait()
}

// await waits until some of what a run missed is here, or none of it will come; if it is not eager,
// until all of it is here that will come.
func (r *collection) await(ctx context.Context, missed wishes, waits []*parcel, news chan struct{}, eager bool) (some bool, err error) {
	for {
		waits = slices.DeleteFunc(waits, func(p *parcel) bool { return !p.listen(news) })
		if eager || len(waits) == 0 {
			if some, err := r.holdsAny(missed); some || err != nil || len(waits) == 0 {
				return some, err
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		time.Sleep(settling)
		drain(news)
	}
}

// holdsAny says whether something that a run missed is here now.
func (r *collection) holdsAny(missed wishes) (bool, error) {
	for _, fault := range missed.faults {
		if blob, err := r.store.Node(fault.Owner, fault.Path, fault.Hash); err != nil || len(blob) > 0 {
			return err == nil, err
		}
	}
	for _, hash := range missed.codes {
		if code, err := r.store.Code(hash); err != nil || len(code) > 0 {
			return err == nil, err
		}
	}
	return missed.below != nil && r.headers.Held(missed.below.hash) != nil, nil
}
