package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
	"golang.org/x/time/rate"
)

// Link is one agreed connection.
type Link struct {
	ID      string                // names the connection: the other end's node id in hex
	Version uint                  // of eth: 66, 69, 70 or 71
	Dialed  bool                  // by us
	Kept    bool                  // somebody asked for this very connection: static or trusted
	Eth     gethp2p.MsgReadWriter // stream of eth, nothing sent or read yet
	Snap    gethp2p.MsgReadWriter // stream of snap/1, nil when it was not agreed on
	Wit     gethp2p.MsgReadWriter // stream of wit/0, likewise
	Beam    gethp2p.MsgReadWriter // stream of beam/2, likewise

	// Close ends all streams for the given reason and unblocks their readers and
	// writers. If nil, the streams are closed that are an io.Closer (gethp2p.MsgPipe).
	Close func(reason gethp2p.DiscReason)
}

// stream returns a protocol's stream, nil when it was not agreed on.
func (l *Link) stream(proto protocol) gethp2p.MsgReadWriter { return *l.slot(proto) }

func (l *Link) slot(proto protocol) *gethp2p.MsgReadWriter {
	switch proto {
	case protoSnap:
		return &l.Snap
	case protoWit:
		return &l.Wit
	case protoBeam:
		return &l.Beam
	case protoEth:
	}
	return &l.Eth
}

// PeerConfig is what the peers of a node have in common.
type PeerConfig struct {
	NetworkID    uint64
	Chain        ChainBackend
	State        StateBackend // may be nil: no state is served
	Data         DataBackend  // may be nil: no state is served by hash
	Witnesses    Witnesses    // may be nil: no block is known
	Swarm        Swarm        // may be nil: no subtree is served, nothing is told
	Transactions Transactions // may be nil: transactions are dropped
	Gate         *Gate        // may be nil: serving is not bounded over peers
	Metrics      *Metrics     // may be nil
	Log          *slog.Logger // may be nil

	// OnJoin and OnLeave are called on the peer's own goroutine and should return soon.
	OnJoin, OnLeave func(*Peer)
}

// Peer is one connection to another node. Run drives it; the request methods may be
// called from OnJoin on, concurrently, and fail with ErrPeerGone when it is over.
type Peer struct {
	link    Link
	cfg     PeerConfig
	log     *slog.Logger
	flights flights

	remote    atomic.Pointer[eth.BlockRangeUpdatePacket] // newest range announced to us
	announced eth.BlockRangeUpdatePacket                 // newest range announced by us; serving goroutine
	headMoved chan struct{}                              // capacity 1
	have      atomic.Pointer[Have]                       // newest one told to us
	haveMoved chan struct{}                              // capacity 1
	queue     chan incoming                              // to the serving goroutine
	queued    atomic.Int64                               // bytes in queue
	pace      *rate.Limiter                              // of answers
	writing   chan struct{}                              // capacity 1: the turn to write

	once sync.Once
	gone chan struct{} // closed when the peer is over
	err  error         // why; set before gone is closed
}

// incoming is a message for the serving goroutine.
type incoming struct {
	msg     message
	payload []byte
}

// NewPeer makes a peer of a link. It starts nothing.
func NewPeer(link Link, cfg PeerConfig) *Peer {
	if cfg.Metrics == nil {
		cfg.Metrics, _ = NewMetrics(nil) // cannot fail without a registerer
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Peer{
		link:      link,
		cfg:       cfg,
		log:       cfg.Log.With("peer", fmt.Sprintf("%.16s", link.ID)),
		headMoved: make(chan struct{}, 1),
		haveMoved: make(chan struct{}, 1),
		queue:     make(chan incoming, maxQueued),
		pace:      rate.NewLimiter(maxPace, paceBurst),
		writing:   make(chan struct{}, 1),
		gone:      make(chan struct{}),
	}
}

// ID names the connection; for connections of a Host it is the node id in hex.
func (p *Peer) ID() string { return p.link.ID }

// Version is the agreed version of eth.
func (p *Peer) Version() uint { return p.link.Version }

// ServesState says whether snap/1 was agreed on.
func (p *Peer) ServesState() bool { return p.link.Snap != nil }

// Head is the newest block that the peer announced.
func (p *Peer) Head() (number uint64, hash common.Hash) {
	if r := p.remote.Load(); r != nil {
		return r.LatestBlock, r.LatestBlockHash
	}
	return 0, common.Hash{}
}

// Earliest is the oldest block whose body and receipts the peer announced to have.
func (p *Peer) Earliest() uint64 {
	if r := p.remote.Load(); r != nil {
		return r.EarliestBlock
	}
	return 0
}

// Latency is a moving average of the time from a request to its response, zero before the
// first one.
func (p *Peer) Latency() time.Duration { return p.flights.measured() }

// Done is closed when the peer is over.
func (p *Peer) Done() <-chan struct{} { return p.gone }

// Drop ends the peer because of what it delivered.
func (p *Peer) Drop(reason error) { _ = p.blame(KindDropped, reason) }

// HeadChanged tells the peer that the chain's head moved. It does not wait.
func (p *Peer) HeadChanged() {
	select {
	case p.headMoved <- struct{}{}:
	default: // a look at the head is due already
	}
}

// Run shakes hands and then serves and delivers until ctx ends (nil), the other end
// breaks the protocol (*Fault) or the connection is over (ErrPeerGone). The link is
// closed when it returns.
func (p *Peer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { p.fail(errStopped) })()

	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() {
		<-p.gone
		cancel() // ends waits of the serving goroutine
		p.closeLink()
	})
	p.handshake(ctx, &tasks)
	if p.isGone() {
		return p.result()
	}
	for proto := range protocol(protocolCount) {
		if rw := p.link.stream(proto); rw != nil {
			tasks.Go(func() { p.read(proto, rw) })
		}
	}
	p.SwarmChanged()
	tasks.Go(func() { p.serve(ctx) })
	if p.link.Version < eth.ETH69 {
		tasks.Go(func() { p.learnHead(ctx) })
	}

	p.cfg.Metrics.joined(p)
	p.log.Debug("Peer joined", "eth", p.link.Version, "snap", p.ServesState(), "beam", p.ServesWitnessKeys())
	if p.cfg.OnJoin != nil {
		p.cfg.OnJoin(p)
	}
	<-p.gone
	if p.cfg.OnLeave != nil {
		p.cfg.OnLeave(p)
	}
	p.cfg.Metrics.left(p)
	p.log.Debug("Peer left", "err", p.err)
	return p.result()
}

// fail ends the peer; the first reason counts. It does not wait.
func (p *Peer) fail(err error) {
	p.once.Do(func() {
		p.err = err
		close(p.gone)
	})
}

// blame ends the peer for a fault and returns it.
func (p *Peer) blame(kind Kind, err error) *Fault {
	fault := &Fault{Peer: p.link.ID, Kind: kind, Err: err}
	p.cfg.Metrics.faults.WithLabelValues(kind.String()).Inc()
	p.fail(fault)
	return fault
}

func (p *Peer) isGone() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// goneError is what requests return once the peer is gone. It does not wrap the reason:
// a fault is blamed on one request only.
func (p *Peer) goneError() error { return fmt.Errorf("%w (%s)", ErrPeerGone, p.err.Error()) }

// result is what Run returns, once gone is closed.
func (p *Peer) result() error {
	var fault *Fault
	switch {
	case errors.Is(p.err, errStopped):
		return nil
	case errors.As(p.err, &fault):
		return fault
	}
	return p.goneError()
}

func (p *Peer) closeLink() {
	if p.link.Close != nil {
		p.link.Close(disconnectReason(p.err))
		return
	}
	for proto := range protocol(protocolCount) {
		if c, ok := p.link.stream(proto).(io.Closer); ok {
			c.Close() // a pipe's close cannot fail
		}
	}
}

// read takes messages off a stream until the peer is over.
func (p *Peer) read(proto protocol, rw gethp2p.MsgReadWriter) {
	for {
		msg, err := rw.ReadMsg()
		if err != nil {
			p.fail(err)
			return
		}
		if err := p.receive(proto, msg); err != nil {
			return
		}
	}
}

// receive hands one message on. It never waits for anything but the message's bytes.
func (p *Peer) receive(proto protocol, msg gethp2p.Msg) error {
	m, payload, err := p.payload(proto, msg)
	if err != nil {
		return err
	}
	switch messages[m].role {
	case roleResponse:
		id, err := requestID(payload)
		if err != nil {
			return p.blame(KindMalformed, fmt.Errorf("%s: %w", m, err))
		}
		if !p.flights.deliver(id, m, payload) {
			return p.blame(KindUnrequested, fmt.Errorf("%s with request id %d", m, id))
		}
	case roleRequest:
		if !p.enqueue(incoming{m, payload}) {
			return p.blame(KindFlood, fmt.Errorf("%s: more than %d requests or %d bytes waiting", m, maxQueued, maxQueuedBytes))
		}
	case roleGossip:
		if !p.enqueue(incoming{m, payload}) {
			p.cfg.Metrics.dropped.Inc()
		}
	case roleRange:
		return p.updateRange(payload)
	case roleHave:
		return p.hear(payload)
	case roleHandshake:
		return p.blame(KindUnknownMessage, fmt.Errorf("%s after the handshake", m))
	case roleIgnored:
	}
	return nil
}

// payload reads a message of a known kind and size.
func (p *Peer) payload(proto protocol, msg gethp2p.Msg) (message, []byte, error) {
	m, ok := lookup(proto, p.link.Version, msg.Code)
	if !ok {
		return 0, nil, p.blame(KindUnknownMessage, fmt.Errorf("message %#02x in %s beside eth/%d", msg.Code, proto, p.link.Version))
	}
	limit := uint32(maxIncoming)
	if messages[m].role == roleResponse {
		limit = maxMessageSize
	}
	if msg.Size > limit {
		return 0, nil, p.blame(KindOversize, fmt.Errorf("%s of %d bytes", m, msg.Size))
	}
	payload := make([]byte, msg.Size)
	if _, err := io.ReadFull(msg.Payload, payload); err != nil {
		p.fail(err)
		return 0, nil, err
	}
	p.cfg.Metrics.received[m].Add(float64(len(payload)))
	return m, payload, nil
}

// requestID reads the first field of a request or response.
func requestID(payload []byte) (uint64, error) {
	fields, _, err := rlp.SplitList(payload)
	if err != nil {
		return 0, err
	}
	id, _, err := rlp.SplitUint64(fields)
	return id, err
}

// write sends one message. It waits for its turn as long as ctx, then for the transport,
// which gives up on its own (20 s in go-ethereum's) or when the peer is over.
func (p *Peer) write(ctx context.Context, m message, packet any) error {
	payload, err := rlp.EncodeToBytes(packet)
	if err != nil {
		return fmt.Errorf("encode %s: %w", m, err)
	}
	if len(payload) > maxMessageSize {
		return fmt.Errorf("%s of %d bytes is above the limit of %d", m, len(payload), maxMessageSize)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.writing <- struct{}{}:
		defer func() { <-p.writing }()
	case <-ctx.Done():
		return ctx.Err()
	case <-p.gone:
		return p.goneError()
	}
	msg := gethp2p.Msg{Code: messages[m].code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)}
	if err := p.link.stream(messages[m].protocol).WriteMsg(msg); err != nil {
		p.fail(err)
		<-p.gone
		return p.goneError()
	}
	p.cfg.Metrics.sent[m].Add(float64(len(payload)))
	return nil
}
