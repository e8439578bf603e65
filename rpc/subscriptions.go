// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/filters"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// selectorsPerSlot is how many addresses and topics one subscription or filter may have before it counts as
// several against its limits. It makes the limits bound memory too.
const selectorsPerSlot = 100

// slots is how much a subscription or filter counts against its limits.
func (i interest) slots() int {
	selectors := 0
	if i.query != nil {
		selectors = len(i.query.Addresses)
		for _, topics := range i.query.Topics {
			selectors += len(topics)
		}
	}
	if i.receipts != nil {
		selectors = len(i.receipts.hashes)
	}
	return 1 + selectors/selectorsPerSlot
}

// errTooMany is the error of a subscription or filter beyond a limit. It names the flag that sets the limit.
func errTooMany(what string, limit int, flag string) error {
	return &codedError{codeLimitExceeded, fmt.Sprintf(
		"too many %s (limit %d, set by --%s; each %d addresses and topics count as one more)", what, limit, flag, selectorsPerSlot)}
}

// interest is what a subscription announces: new heads, if nothing of it is set. The values of a feed are for all of its
// subscriptions.
type interest struct {
	query    *filters.FilterCriteria      // of logs
	encode   func(*types.Transaction) any // of pending transactions
	receipts *receiptQuery
}

// subscriptions are the subscriptions of all connections.
type subscriptions struct {
	limits  Subscriptions
	log     *slog.Logger
	metrics *metrics

	mu struct {
		sync.Mutex
		conns map[subscriberKey]*subscriber
		slots int                     // of all connections
		own   map[*gethrpc.Client]int // slots of each
	}
}

func newSubscriptions(limits Subscriptions, log *slog.Logger, metrics *metrics) *subscriptions {
	s := &subscriptions{limits: limits, log: log, metrics: metrics}
	s.mu.conns, s.mu.own = make(map[subscriberKey]*subscriber), make(map[*gethrpc.Client]int)
	return s
}

// subscriberKey names a subscriber: a connection has one for each feed.
type subscriberKey struct {
	conn *gethrpc.Client
	feed *eventFeed
}

// subscriber is a connection with subscriptions to one feed. One goroutine, send, serves all of them.
type subscriber struct {
	subscriberKey
	remote gethrpc.PeerInfo
	reader *eventReader

	open  []*subscription // guarded by subscriptions.mu
	slots int             // of open; guarded by subscriptions.mu
}

type subscription struct {
	*gethrpc.Subscription
	notifier *gethrpc.Notifier
	interest
	since uint64 // number of the first event to announce
}

// ended reports whether the client has unsubscribed or the connection is closed.
func (sub *subscription) ended() bool {
	select {
	case <-sub.Err():
		return true
	default:
		return false
	}
}

// notify announces an event. An error means that the connection does not work any more, or that the event cannot be read.
func (sub *subscription) notify(ev *feedEvent) error {
	var values []any
	switch {
	case ev.value != nil:
		values = []any{ev.value}
	case sub.encode != nil:
		for _, tx := range ev.txs {
			values = append(values, sub.encode(tx))
		}
	case sub.query != nil:
		for _, log := range ev.matching(*sub.query) {
			values = append(values, log)
		}
	case sub.receipts != nil:
		for _, header := range ev.headers {
			receipts, err := sub.receipts.of(header)
			if err != nil {
				return err
			}
			if len(receipts) > 0 {
				values = append(values, receipts)
			}
		}
	default:
		for _, header := range ev.headers {
			values = append(values, header)
		}
	}
	for _, value := range values {
		if err := sub.notifier.Notify(sub.ID, value); err != nil {
			return err
		}
	}
	return nil
}

// add creates a subscription of a connection to a feed, within the limits.
func (s *subscriptions) add(key subscriberKey, remote gethrpc.PeerInfo, notifier *gethrpc.Notifier, what interest) (*gethrpc.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := what.slots()
	c := s.mu.conns[key]
	if err := s.roomLocked(key.conn, want); err != nil {
		return nil, err
	}
	created := c == nil
	if created {
		c = &subscriber{subscriberKey: key, remote: remote, reader: key.feed.open()}
		s.mu.conns[key] = c
	}
	sub := &subscription{notifier.CreateSubscription(), notifier, what, key.feed.end()}
	c.open = append(c.open, sub)
	s.countLocked(c, want)
	if created {
		go s.send(c)
	}
	return sub.Subscription, nil
}

// roomLocked refuses a subscription that exceeds a limit. Before that it removes what has ended.
func (s *subscriptions) roomLocked(conn *gethrpc.Client, want int) error {
	if s.mu.own[conn]+want > s.limits.PerConnection {
		for key, c := range s.mu.conns {
			if key.conn == conn {
				s.removeEndedLocked(c)
			}
		}
	}
	var err error
	switch {
	case s.mu.own[conn]+want > s.limits.PerConnection:
		err = errTooMany("subscriptions on this connection", s.limits.PerConnection, "rpc.max-subscriptions-per-connection")
	case s.mu.slots+want > s.limits.Total:
		err = errTooMany("subscriptions on this node", s.limits.Total, "rpc.max-subscriptions")
	default:
		return nil
	}
	s.metrics.limitExceeded.WithLabelValues(limitSubscriptions).Inc()
	return err
}

func (s *subscriptions) countLocked(c *subscriber, slots int) {
	c.slots += slots
	s.mu.slots += slots
	if s.mu.own[c.conn] += slots; s.mu.own[c.conn] == 0 {
		delete(s.mu.own, c.conn)
	}
	s.metrics.subscriptions.Set(float64(s.mu.slots))
}

func (s *subscriptions) removeEndedLocked(c *subscriber) {
	c.open = slices.DeleteFunc(c.open, func(sub *subscription) bool {
		ended := sub.ended()
		if ended {
			s.countLocked(c, -sub.slots())
		}
		return ended
	})
}

// current returns the open subscriptions of a connection. If there are none, or end is set, it forgets the connection.
func (s *subscriptions) current(c *subscriber, end bool) []*subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeEndedLocked(c)
	open := slices.Clone(c.open)
	if end || len(open) == 0 {
		s.countLocked(c, -c.slots)
		delete(s.mu.conns, c.subscriberKey)
	}
	return open
}

// send announces events to a connection until its last subscription has ended. It closes a connection that does not
// take them: its client would wait for events that it has missed.
func (s *subscriptions) send(c *subscriber) {
	defer c.reader.close()
	for {
		open := s.current(c, false)
		if len(open) == 0 {
			return
		}
		ev, number, changed, err := c.reader.read()
		switch {
		case err != nil:
		case ev == nil:
			select {
			case <-changed:
			case <-open[0].Err():
			}
			continue
		default:
			err = announce(ev, number, open)
		}
		if err != nil {
			s.drop(c, err)
			return
		}
	}
}

// announce sends an event to subscriptions that are older than the event.
func announce(ev *feedEvent, number uint64, open []*subscription) error {
	for _, sub := range open {
		if number < sub.since || sub.ended() {
			continue
		}
		if err := sub.notify(ev); err != nil && !sub.ended() {
			return err
		}
	}
	return nil
}

// drop ends the subscriptions of a connection and closes it. When the server stops, its endpoint closes it.
func (s *subscriptions) drop(c *subscriber, err error) {
	open := s.current(c, true)
	attrs := []any{"transport", c.remote.Transport, "remote", c.remote.RemoteAddr, "subscriptions", len(open), "err", err}
	switch {
	case errors.Is(err, errFeedClosed):
		return
	case errors.Is(err, errReaderBehind), isTimeout(err):
		s.metrics.slowConnections.Inc()
		s.log.Warn("Closed connection: its client does not keep up with events", attrs...)
	default:
		s.log.Debug("Closed connection: it does not take notifications", attrs...)
	}
	c.conn.Close()
}

// isTimeout reports whether a write has taken longer than go-ethereum allows.
func isTimeout(err error) bool {
	var failure net.Error
	return errors.As(err, &failure) && failure.Timeout()
}
