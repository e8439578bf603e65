// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// limiter bounds requests of one kind that may wait for the network: how many run at once, and for how
// long each. All of them end when the server does.
type limiter struct {
	kind      string // as error texts name it, plural, with the flag of the limit if it has one
	limit     int64
	slots     *semaphore.Weighted
	serverCtx atomic.Pointer[context.Context] // ends with Server.Run; nil before
}

func newLimiter(kind string, limit int) *limiter {
	return &limiter{kind: kind, limit: int64(limit), slots: semaphore.NewWeighted(int64(limit))}
}

// acquire waits for a slot. The context that it returns ends with ctx, with the server, or after the
// timeout (zero: none), in which the wait for the slot counts. Without an error, release must be called;
// with an error the returned context has ended.
func (l *limiter) acquire(ctx context.Context, timeout time.Duration) (_ context.Context, release func(), err error) {
	ctx, end := l.bind(ctx, timeout)
	if err := l.slots.Acquire(ctx, 1); err != nil {
		end()
		return ctx, nil, &codedError{codeLimitExceeded, fmt.Sprintf("too many concurrent %s (limit %d), try again: %v", l.kind, l.limit, err)}
	}
	return ctx, l.releaser(end), nil
}

// tryAcquire is acquire for work without a timeout: it does not wait for a slot.
func (l *limiter) tryAcquire(ctx context.Context) (context.Context, func(), error) {
	if !l.slots.TryAcquire(1) {
		return ctx, nil, &codedError{codeLimitExceeded, fmt.Sprintf("too many concurrent %s (limit %d), try again", l.kind, l.limit)}
	}
	ctx, end := l.bind(ctx, 0)
	return ctx, l.releaser(end), nil
}

// bind returns a context that ends with ctx, with the server, or after the timeout (zero: none), and the function that
// ends it.
func (l *limiter) bind(ctx context.Context, timeout time.Duration) (_ context.Context, end func()) {
	ctx, cancel := withOptionalTimeout(ctx, timeout)
	server := l.serverCtx.Load()
	if server == nil {
		return ctx, cancel
	}
	unbind := context.AfterFunc(*server, cancel)
	return ctx, func() {
		unbind()
		cancel()
	}
}

func (l *limiter) releaser(end func()) func() {
	return func() {
		end()
		l.slots.Release(1)
	}
}

// wait waits until no request holds a slot, or ctx ends.
func (l *limiter) wait(ctx context.Context) error {
	if err := l.slots.Acquire(ctx, l.limit); err != nil {
		return fmt.Errorf("%s still running: %w", l.kind, err)
	}
	l.slots.Release(l.limit)
	return nil
}

// withOptionalTimeout is context.WithTimeout, where zero means no timeout.
func withOptionalTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}
