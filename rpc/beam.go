package rpc

// beamAPI is the beam namespace, our own.
type beamAPI struct{ b *backend }

// Status returns an object about syncing: how far it is, what it costs, what it waits for.
func (api *beamAPI) Status() (any, error) {
	if api.b.Beam == nil {
		return nil, errNoBeam
	}
	return api.b.Beam.Status(), nil
}
