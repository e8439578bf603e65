// SPDX-License-Identifier: LGPL-3.0-or-later

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
	ID      string                // of the connection: the other end's node id in hex
	Version uint                  // of eth: 66, 69, 70, 71 or 72
	Name    string                // client name that the other end gave
	Dialed  bool                  // outbound
	Pinned  bool                  // a static or trusted peer
	Eth     gethp2p.MsgReadWriter // stream of eth, nothing sent or read yet
	Snap    gethp2p.MsgReadWriter // stream of snap/1, nil without it
	Wit     gethp2p.MsgReadWriter // stream of wit/0, nil without it
	Beam    gethp2p.MsgReadWriter // stream of beam/2, nil without it

	// Close ends all streams for the given reason and unblocks their readers and writers.
	// If nil, the peer closes the streams that are an io.Closer (gethp2p.MsgPipe).
	Close func(reason gethp2p.DiscReason)
}

// stream returns a protocol's stream, nil without it.
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

// PeerConfig is the configuration that all peers of a node share.
type PeerConfig struct {
	NetworkID    uint64
	Chain        ChainBackend
	State        StateBackend // may be nil: no state is served
	Data         DataBackend  // may be nil: no state is served by hash
	Witnesses    Witnesses    // may be nil: no witness is served
	Swarm        Swarm        // may be nil: no subtree is served, no Have is sent
	Transactions Transactions // may be nil: transactions are dropped
	Gate         *Gate        // may be nil: no limit over all peers
	Budget       *Budget      // of the replies to requests; may be nil: no limit over all peers
	Metrics      *Metrics     // may be nil
	Log          *slog.Logger // may be nil

	// OnJoin and OnLeave are called on the peer's own goroutine and should return soon.
	OnJoin, OnLeave func(*Peer)
}

// Peer is one connection to another node. Run drives it. The request methods may be called
// concurrently from OnJoin on, and fail with ErrPeerGone after the connection has ended.
type Peer struct {
	link     Link
	cfg      PeerConfig
	log      *slog.Logger
	inFlight pendingRequests

	remote      atomic.Pointer[eth.BlockRangeUpdatePacket] // newest range that the peer announced
	announced   eth.BlockRangeUpdatePacket                 // newest range that was sent to the peer; serving goroutine
	headMoved   chan struct{}                              // capacity 1
	have        atomic.Pointer[Have]                       // newest Have of the peer
	haveChanged chan struct{}                              // capacity 1
	queue       chan incoming                              // to the serving goroutine
	queued      atomic.Int64                               // bytes in queue
	limiter     *rate.Limiter                              // of answers
	writeLock   chan struct{}                              // capacity 1: full while a message is written
	received    atomic.Uint64                              // bytes of messages
	sent        atomic.Uint64

	once sync.Once
	done chan struct{} // closed when the connection has ended
	err  error         // the reason; set before done is closed
}

// incoming is a message for the serving goroutine.
type incoming struct {
	msg     message
	payload []byte
}

// NewPeer creates a peer for a link. It starts nothing.
func NewPeer(link Link, cfg PeerConfig) *Peer {
	if cfg.Metrics == nil {
		cfg.Metrics, _ = NewMetrics(nil) // cannot fail without a registerer
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Peer{
		link:        link,
		cfg:         cfg,
		log:         cfg.Log.With("peer", fmt.Sprintf("%.16s", link.ID)),
		headMoved:   make(chan struct{}, 1),
		haveChanged: make(chan struct{}, 1),
		queue:       make(chan incoming, maxQueued),
		limiter:     rate.NewLimiter(maxRequestRate, requestBurst),
		writeLock:   make(chan struct{}, 1),
		done:        make(chan struct{}),
	}
}

// ID is the id of the connection; for connections of a Host the node id in hex.
func (p *Peer) ID() string { return p.link.ID }

// Name is the client name that the peer gave, which may be anything.
func (p *Peer) Name() string { return p.link.Name }

// Inbound reports whether the peer opened the connection.
func (p *Peer) Inbound() bool { return !p.link.Dialed }

// Traffic is how many bytes of messages came from the peer and went to it, before compression.
func (p *Peer) Traffic() (received, sent uint64) { return p.received.Load(), p.sent.Load() }

// Version is the agreed version of eth.
func (p *Peer) Version() uint { return p.link.Version }

// ServesState reports whether the peer supports snap/1.
func (p *Peer) ServesState() bool { return p.link.Snap != nil }

// Head is the newest block that the peer announced.
func (p *Peer) Head() (number uint64, hash common.Hash) {
	if r := p.remote.Load(); r != nil {
		return r.LatestBlock, r.LatestBlockHash
	}
	return 0, common.Hash{}
}

// Earliest is the oldest block whose body and receipts the peer announced.
func (p *Peer) Earliest() uint64 {
	if r := p.remote.Load(); r != nil {
		return r.EarliestBlock
	}
	return 0
}

// Latency is a moving average of the time from a request to its response, zero before the
// first one.
func (p *Peer) Latency() time.Duration { return p.inFlight.measured() }

// Oversized reports whether the connection ended because the peer sent more than it was asked for: a proof that it does not
// follow the protocol.
func (p *Peer) Oversized() (detail string, ok bool) {
	if !p.isDone() {
		return "", false
	}
	var violation *ProtocolError
	if !errors.As(p.err, &violation) || violation.Kind != KindOversize && violation.Kind != KindExcess {
		return "", false
	}
	return violation.Err.Error(), true
}

// Done is closed when the connection has ended.
func (p *Peer) Done() <-chan struct{} { return p.done }

// Drop disconnects the peer because of the data that it sent.
func (p *Peer) Drop(reason error) { _ = p.disconnect(KindDropped, reason) }

// HeadChanged signals that the chain's head moved. It does not block.
func (p *Peer) HeadChanged() {
	select {
	case p.headMoved <- struct{}{}:
	default: // already signalled
	}
}

// Run does the handshake, then serves requests and delivers responses until ctx ends (nil),
// the other end violates the protocol (*ProtocolError) or the connection ends (ErrPeerGone).
// It returns with the link closed.
func (p *Peer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { p.fail(errStopped) })()

	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() {
		<-p.done
		cancel() // unblocks the serving goroutine
		p.closeLink()
	})
	p.handshake(ctx, &tasks)
	if p.isDone() {
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
	<-p.done
	if p.cfg.OnLeave != nil {
		p.cfg.OnLeave(p)
	}
	p.cfg.Metrics.left(p)
	p.log.Debug("Peer left", "err", p.err)
	return p.result()
}

// fail ends the connection; the first reason counts. It does not block.
func (p *Peer) fail(err error) {
	p.once.Do(func() {
		p.err = err
		close(p.done)
	})
}

// disconnect ends the connection for a protocol error and returns that.
func (p *Peer) disconnect(kind Kind, err error) *ProtocolError {
	violation := &ProtocolError{Peer: p.link.ID, Kind: kind, Err: err}
	p.cfg.Metrics.protocolErrors.WithLabelValues(kind.String()).Inc()
	p.fail(violation)
	return violation
}

func (p *Peer) isDone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// goneError is the error of requests after the connection has ended. It does not wrap the
// reason: only one request returns a protocol error.
func (p *Peer) goneError() error { return fmt.Errorf("%w (%s)", ErrPeerGone, p.err.Error()) }

// result is the result of Run after done is closed.
func (p *Peer) result() error {
	var violation *ProtocolError
	switch {
	case errors.Is(p.err, errStopped):
		return nil
	case errors.As(p.err, &violation):
		return violation
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
			c.Close() // of a pipe: cannot fail
		}
	}
}

// read reads messages from a stream until the connection ends.
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

// receive dispatches one message. It blocks for nothing but the message's bytes.
func (p *Peer) receive(proto protocol, msg gethp2p.Msg) error {
	m, err := p.check(proto, msg)
	switch {
	case err != nil:
		return err
	case messages[m].role == roleResponse:
		return p.receiveResponse(m, msg)
	case messages[m].role == roleIgnored:
		return p.skip(m, msg)
	}
	payload, err := p.payload(m, msg, nil)
	if err != nil {
		return err
	}
	switch messages[m].role {
	case roleRequest:
		if !p.enqueue(incoming{m, payload}) {
			return p.disconnect(KindFlood, fmt.Errorf("%s: more than %d requests or %d bytes queued", m, maxQueued, maxQueuedBytes))
		}
	case roleGossip:
		if !p.enqueue(incoming{m, payload}) {
			p.cfg.Metrics.dropped.Inc()
		}
	case roleRange:
		return p.updateRange(payload)
	case roleHave:
		return p.handleHave(payload)
	case roleHandshake:
		return p.disconnect(KindUnknownMessage, fmt.Errorf("%s after the handshake", m))
	case roleResponse, roleIgnored: // see above
	}
	return nil
}

// receiveResponse reads a response, if it is not larger than the request allows and somebody waits for it.
func (p *Peer) receiveResponse(m message, msg gethp2p.Msg) error {
	head := make([]byte, min(msg.Size, maxHead))
	if _, err := io.ReadFull(msg.Payload, head); err != nil {
		p.fail(err)
		return err
	}
	id, err := requestID(head, msg.Size)
	if err != nil {
		return p.disconnect(KindMalformed, fmt.Errorf("%s: %w", m, err))
	}
	limit, late, ok := p.inFlight.expected(id, m)
	switch {
	case !ok:
		return p.disconnect(KindUnrequested, fmt.Errorf("%s with request id %d", m, id))
	case int(msg.Size) > limit:
		return p.disconnect(KindOversize, fmt.Errorf("%s of %d bytes, limit %d", m, msg.Size, limit))
	case late:
		if err := p.skip(m, msg); err != nil {
			return err
		}
		p.inFlight.deliver(id, m, nil)
		return nil
	}
	payload, err := p.payload(m, msg, head)
	if err != nil {
		return err
	}
	if !p.inFlight.deliver(id, m, payload) {
		return p.disconnect(KindUnrequested, fmt.Errorf("%s with request id %d", m, id))
	}
	return nil
}

// check checks the code and the size of a message before it is read.
func (p *Peer) check(proto protocol, msg gethp2p.Msg) (message, error) {
	m, ok := lookup(proto, p.link.Version, msg.Code)
	if !ok {
		return 0, p.disconnect(KindUnknownMessage, fmt.Errorf("unknown message %#02x in %s with eth/%d", msg.Code, proto, p.link.Version))
	}
	if limit := m.maxSize(); msg.Size > limit {
		return 0, p.disconnect(KindOversize, fmt.Errorf("%s of %d bytes, limit %d", m, msg.Size, limit))
	}
	return m, nil
}

// payload reads a message of which head has been read.
func (p *Peer) payload(m message, msg gethp2p.Msg, head []byte) ([]byte, error) {
	payload := make([]byte, msg.Size)
	if _, err := io.ReadFull(msg.Payload, payload[copy(payload, head):]); err != nil {
		p.fail(err)
		return nil, err
	}
	p.cfg.Metrics.received[m].Add(float64(len(payload)))
	p.received.Add(uint64(len(payload)))
	return payload, nil
}

// skip drops the rest of a message without memory for it.
func (p *Peer) skip(m message, msg gethp2p.Msg) error {
	if err := msg.Discard(); err != nil {
		p.fail(err)
		return err
	}
	p.cfg.Metrics.received[m].Add(float64(msg.Size))
	p.received.Add(uint64(msg.Size))
	return nil
}

// maxHead is the most that the header of a list and a number take, in bytes.
const maxHead = 18

// requestID decodes the first field of a request or response of that size, of which head is the beginning.
func requestID(head []byte, size uint32) (uint64, error) {
	s := rlp.NewStream(bytes.NewReader(head), uint64(size))
	if _, err := s.List(); err != nil {
		return 0, err
	}
	return s.Uint64()
}

// write sends one message. It waits for other writers until ctx ends, then for the transport,
// which has a time limit (20 s in go-ethereum's) and ends with the connection.
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
	case p.writeLock <- struct{}{}:
		defer func() { <-p.writeLock }()
	case <-ctx.Done():
		return ctx.Err()
	case <-p.done:
		return p.goneError()
	}
	msg := gethp2p.Msg{Code: messages[m].code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)}
	if err := p.link.stream(messages[m].protocol).WriteMsg(msg); err != nil {
		p.fail(err)
		<-p.done
		return p.goneError()
	}
	p.cfg.Metrics.sent[m].Add(float64(len(payload)))
	p.sent.Add(uint64(len(payload)))
	return nil
}
