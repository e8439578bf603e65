// SPDX-License-Identifier: LGPL-3.0-or-later

package peer

import (
	"log/slog"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// BanTime is how long a ban lasts. Everything that a peer sends is verified, so a banned peer
	// that returns costs one request an hour; and a peer that was repaired under its old id is of
	// use again without a restart of this node.
	BanTime = time.Hour

	// firstBan is how long the first ban lasts of a peer that is needed, see needed. Each one that
	// follows within BanTime lasts twice as long, until it is BanTime.
	firstBan = time.Minute

	maxBans    = 4096 // the oldest one goes first
	maxRecords = 4096 // the least recently changed one goes first
)

// BookConfig is what a [Book] works with. Every field may be left out.
type BookConfig struct {
	Blamer     Blamer                // is told of every penalty; disconnects banned peers
	Log        *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not registered

	Static func(id string) bool // whether the operator named the peer; it must not call the book
}

// Book is what is known of how peers behaved, by peer id. All packages that send requests to
// peers share one Book, so that what a peer did to one of them counts for all, also after a
// reconnect. The package documentation has the rules. It is safe for concurrent use.
type Book struct {
	blamer    Blamer
	static    func(id string) bool // nil: none is
	log       *slog.Logger
	penalties *prometheus.CounterVec // reason

	mu      sync.Mutex
	bans    lru.BasicLRU[string, ban] // the newest of each peer, also when it ended
	records lru.BasicLRU[string, *record]
	served  map[string]time.Time // newest useful reply of each kind, of any peer that was not banned
	onBan   []func(id string)
}

// ban is the newest ban of a peer.
type ban struct {
	since time.Time
	least time.Duration // how long it lasts if the peer is needed; otherwise BanTime
}

// record is how a peer served lately.
type record struct {
	served time.Time           // newest useful reply, of any kind
	useful map[string]bool     // kinds of which a reply was useful
	kinds  map[string]*Backoff // failures by kind of request, as far as none was useful since
	silent Backoff             // requests that timed out while the peer sent nothing useful at all
}

// NewBook returns an empty book.
func NewBook(cfg BookConfig) *Book {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b := &Book{
		blamer: cfg.Blamer, static: cfg.Static, log: cfg.Log,
		penalties: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_peer_penalties_total", Help: "Penalties of peers, by reason: invalid data (a ban), useless, timeout.",
		}, []string{"reason"}),
		bans: lru.NewBasicLRU[string, ban](maxBans), records: lru.NewBasicLRU[string, *record](maxRecords),
		served: make(map[string]time.Time),
	}
	for _, reason := range []Blame{BlameInvalid, BlameUseless, BlameTimeout} { // visible before the first one
		b.penalties.WithLabelValues(reason.String())
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(b.penalties)
	}
	return b
}

// OnBan registers a function that is called with the id of each peer that is banned from then on,
// before Blame returns. It must not block.
func (b *Book) OnBan(f func(id string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onBan = append(b.onBan, f)
}

// Blame penalizes a peer: [BlameInvalid] bans it. A peer that is banned already is not penalized
// again: replies to several requests may show the same fault. The caller holds no lock that a
// function of [Book.OnBan] takes.
func (b *Book) Blame(id string, reason Blame, detail string) {
	now := time.Now()
	b.mu.Lock()
	if b.bannedLocked(id, now) {
		b.mu.Unlock()
		return
	}
	var onBan []func(string)
	next := ban{now, firstBan}
	if reason == BlameInvalid {
		if last, ok := b.bans.Peek(id); ok && now.Before(last.since.Add(last.least+BanTime)) {
			next.least = min(2*last.least, BanTime)
		}
		b.bans.Add(id, next)
		onBan = b.onBan
	}
	b.mu.Unlock()

	b.penalties.WithLabelValues(reason.String()).Inc()
	if reason == BlameInvalid {
		b.log.Warn("Peer sent invalid data, disconnecting", "peer", id, "detail", detail, "banned_for", BanTime, "if_needed", next.least)
	} else {
		b.log.Debug("Peer penalized", "peer", id, "reason", reason.String(), "detail", detail)
	}
	for _, f := range onBan {
		f(id)
	}
	if b.blamer != nil {
		b.blamer.Blame(id, reason, detail)
	}
}

// Banned reports whether a peer is banned: it is sent nothing, and its connection is refused.
func (b *Book) Banned(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bannedLocked(id, time.Now())
}

func (b *Book) bannedLocked(id string, now time.Time) bool {
	last, ok := b.bans.Peek(id)
	if !ok {
		return false
	}
	length := BanTime
	if b.neededLocked(id, last.since) {
		length = last.least
	}
	return now.Before(last.since.Add(length))
}

// neededLocked says whether a peer that was banned then may be asked again soon: the operator named it, or nobody has served since
// then what it served before, or nobody has served anything. It may be the only one that has that, and the fault may be ours.
func (b *Book) neededLocked(id string, since time.Time) bool {
	if b.static != nil && b.static(id) {
		return true
	}
	anybody := false
	for _, at := range b.served {
		anybody = anybody || at.After(since)
	}
	if !anybody {
		return true
	}
	r, ok := b.records.Peek(id)
	if !ok {
		return false
	}
	for kind := range r.useful {
		if !b.served[kind].After(since) {
			return true
		}
	}
	return false
}

// Served notes a useful reply to a request of a kind. It ends the back-offs for that kind and for
// the whole peer.
func (b *Book) Served(id, kind string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, now := b.recordLocked(id), time.Now()
	if !b.bannedLocked(id, now) {
		b.served[kind] = now
	}
	r.served, r.useful[kind] = now, true
	r.silent = Backoff{}
	if own := r.kinds[kind]; own != nil && !own.excluded {
		delete(r.kinds, kind)
	}
}

// Refused notes that a request of a kind, sent at sent, failed or brought nothing of what the peer
// should have.
func (b *Book) Refused(id, kind string, sent time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recordLocked(id).fail(kind, time.Now(), sent)
}

// TimedOut notes that a request of a kind, sent at sent, ran into its deadline. If the peer sent
// nothing useful of any kind since then, the whole peer backs off.
func (b *Book) TimedOut(id, kind string, sent time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, now := b.recordLocked(id), time.Now()
	r.fail(kind, now, sent)
	if r.served.Before(sent) {
		r.silent.Fail(now, sent)
	}
}

// Exclude keeps a peer from requests of one kind for as long as a ban lasts, because its replies
// were of no use but not proven wrong.
func (b *Book) Exclude(id, kind string) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recordLocked(id).kinds[kind] = &Backoff{since: now, until: now.Add(BanTime), failures: 1, excluded: true}
}

// Excluded reports whether a peer is kept from requests of a kind by [Book.Exclude].
func (b *Book) Excluded(id, kind string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.records.Peek(id)
	return ok && r.kinds[kind] != nil && r.kinds[kind].excluded && time.Now().Before(r.kinds[kind].until)
}

// RetryAt is when the peer may be sent a request of a kind again by those who can wait; zero or
// past: now. A request that a block waits for takes it as a preference among peers only.
func (b *Book) RetryAt(id, kind string) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.records.Peek(id)
	if !ok {
		return time.Time{}
	}
	until := r.silent.Until()
	if own := r.kinds[kind]; own != nil && own.Until().After(until) {
		until = own.Until()
	}
	return until
}

// recordLocked returns the record of a peer, a new one if there is none.
func (b *Book) recordLocked(id string) *record {
	r, ok := b.records.Get(id)
	if !ok {
		r = &record{useful: make(map[string]bool), kinds: make(map[string]*Backoff)}
		b.records.Add(id, r)
	}
	return r
}

func (r *record) fail(kind string, now, sent time.Time) {
	backoff := r.kinds[kind]
	if backoff == nil {
		backoff = &Backoff{Schedule: scheduleOf(kind)}
		r.kinds[kind] = backoff
	}
	if backoff.excluded && now.Before(backoff.until) {
		return
	}
	backoff.excluded = false
	backoff.Fail(now, sent)
}
