// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import "errors"

var errSyncDisabled = errors.New("the sync is disabled")

// beamAPI is the beam namespace, which only Sunbeam has.
type beamAPI struct{ b *backend }

// Status returns the state of the sync: progress, peers, and what it waits for.
func (api *beamAPI) Status() (any, error) {
	if api.b.Beam == nil {
		return nil, errSyncDisabled
	}
	return api.b.Beam.Status(), nil
}

// Overview returns what the status page shows.
func (api *beamAPI) Overview() (any, error) {
	if api.b.Beam == nil {
		return nil, errSyncDisabled
	}
	return api.b.Beam.Overview(), nil
}
