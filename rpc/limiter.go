package rpc

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// gate bounds work that may fetch: how much of it runs at once and how long each piece
// may take. All of it ends when the server does.
type gate struct {
	what  string
	size  int64
	slots *semaphore.Weighted
	life  atomic.Pointer[context.Context] // the server's Run; nil before it
}

func newGate(what string, size int) *gate {
	return &gate{what: what, size: int64(size), slots: semaphore.NewWeighted(int64(size))}
}

// enter waits for a slot. The context it returns ends with ctx, after limit (zero: no
// limit; waiting counts), or with the server; with an error, it has ended. leave must be
// called unless there is an error.
func (g *gate) enter(ctx context.Context, limit time.Duration) (_ context.Context, leave func(), err error) {
	var cancel context.CancelFunc
	if limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	unbind := func() bool { return true }
	if life := g.life.Load(); life != nil {
		unbind = context.AfterFunc(*life, cancel)
	}
	if err := g.slots.Acquire(ctx, 1); err != nil {
		unbind()
		cancel()
		return ctx, nil, &codedError{codeLimitExceeded, fmt.Sprintf("%d %s are running already: %v", g.size, g.what, err)}
	}
	return ctx, func() {
		unbind()
		cancel()
		g.slots.Release(1)
	}, nil
}

// drain waits until nothing is inside, or ctx ends.
func (g *gate) drain(ctx context.Context) error {
	if err := g.slots.Acquire(ctx, g.size); err != nil {
		return fmt.Errorf("%s still running: %w", g.what, err)
	}
	g.slots.Release(g.size)
	return nil
}
