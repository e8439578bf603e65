package prefetch

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

const (
	// settling is how long who waits for parcels waits on after something came: replies come in
	// bursts, and each run costs computing.
	settling = time.Millisecond
	// packing is how long a parcel is open for wishes: what many ask for at the same time travels together, each
	// node once.
	packing = time.Millisecond
)

// parcel is what is asked for at once.
type parcel struct {
	wishes  wishes              // these are under the collection's lock until the parcel is sent
	place   map[common.Hash]int // of a fault among them
	closing bool

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

// ask sends what nobody asked for before, and returns the parcels that all of it is in, but for what is
// only likely.
func (r *collection) ask(ctx context.Context, w wishes) (waits []*parcel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = &parcel{place: make(map[common.Hash]int)}
	}
	for _, fault := range w.faults {
		r.add(fault, false, &waits)
	}
	for _, fault := range w.likely {
		r.add(fault, true, nil)
	}
	for _, hash := range w.codes {
		if r.claim(hash, &waits) {
			r.open.wishes.codes = append(r.open.wishes.codes, hash)
		}
	}
	for _, hash := range w.likelyCodes {
		if r.claim(hash, nil) {
			r.open.wishes.codes = append(r.open.wishes.codes, hash)
		}
	}
	if w.below != nil && r.claim(w.below.hash, &waits) {
		r.open.wishes.below = w.below
	}
	if p := r.open; !p.closing && p.wishes.any() {
		p.closing = true
		r.sends.Go(func() error { return r.dispatch(ctx, p) })
	}
	return waits
}

// add puts a fault into the open parcel, with those of its riders that nobody asked for before; without any, or itself,
// asked for, it does not.
func (r *collection) add(fault trie.Fault, likely bool, waits *[]*parcel) {
	// A slot that was asked for with its account is not asked for as likely again: the peer knows
	// it by account and key.
	if fault.Owner != (common.Hash{}) && fault.Key != nil {
		if first := r.claim(crypto.Keccak256Hash(fault.Owner[:], fault.Key), nil); !first && likely {
			return
		}
	}
	id := crypto.Keccak256Hash(fault.Hash[:], fault.Owner[:], fault.Key)
	send := r.claim(id, waits)
	var riders []common.Hash
	if len(fault.StorageKeys) > 0 {
		owner := fault.Account()
		for _, key := range fault.StorageKeys {
			if r.claim(crypto.Keccak256Hash(owner[:], trie.Nibbles(key)), nil) {
				riders = append(riders, key)
			}
		}
	}
	if !send && len(riders) == 0 {
		return
	}
	p := r.open
	if at, there := p.place[id]; there {
		p.wishes.faults[at].StorageKeys = append(p.wishes.faults[at].StorageKeys, riders...)
		return
	}
	p.place[id] = len(p.wishes.faults)
	fault.StorageKeys = riders
	p.wishes.faults = append(p.wishes.faults, fault)
}

// claim says whether nobody asked for something before, and adds the parcel that it is in to waits, unless that is nil.
func (r *collection) claim(id common.Hash, waits *[]*parcel) (first bool) {
	p, asked := r.asked[id]
	if !asked {
		p = r.open
		r.asked[id] = p
	}
	if waits != nil && !slices.Contains(*waits, p) {
		*waits = append(*waits, p)
	}
	return !asked
}

// dispatch closes a parcel and sends it.
func (r *collection) dispatch(ctx context.Context, p *parcel) error {
	defer p.tell(true)
	time.Sleep(packing)
	r.mu.Lock()
	r.open = nil
	r.mu.Unlock()
	if err := r.send(ctx, p.wishes, func() { p.tell(false) }); ctx.Err() == nil {
		return err
	}
	return nil // what nobody waits for any longer
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
			if some, err := r.holdsAny(missed, len(waits) == 0); some || err != nil || len(waits) == 0 {
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

// holdsAny says whether something that a run missed is here now. A part of the way to a key will do only
// if no more of it
// is to come.
func (r *collection) holdsAny(missed wishes, parts bool) (bool, error) {
	for _, fault := range missed.faults {
		if parts {
			fault.Key = nil
		}
		if mended, err := fault.Resolved(r.store); mended || err != nil {
			return mended, err
		}
	}
	for _, hash := range missed.codes {
		if code, err := r.store.Code(hash); err != nil || len(code) > 0 {
			return err == nil, err
		}
	}
	return missed.below != nil && r.headers.Held(missed.below.hash) != nil, nil
}
