// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import "context"

// Meter bounds what one caller makes the node fetch. It is in the context of the reads, so that it holds for everything
// that fetches for this caller: states, prefetches, the transaction pool. A meter is safe for concurrent use.
type Meter interface {
	// Begin is called before a wait for peers. With an error nothing is requested, and the wait fails with it; otherwise
	// End is called when the wait is over.
	Begin() error
	End()
	// Fetched adds what arrived for the caller. It may be called after End, and must not block.
	Fetched(FetchStats)
}

type meterKey struct{}

// WithMeter returns a context whose fetches are metered.
func WithMeter(ctx context.Context, m Meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

// MeterOf returns the meter of a context, nil if it has none.
func MeterOf(ctx context.Context) Meter {
	m, _ := ctx.Value(meterKey{}).(Meter)
	return m
}
