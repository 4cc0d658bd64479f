package stack

import "context"

// StartHandler starts what the consumers' handler calls, where nobody has said what that is: a receiver for HANDLER=webhook without a
// WEBHOOK_URL (returned), a function for HANDLER=sql without an EFFECT_FUNCTION, if the database is ours to put one into. settings
// are the consumers'.
func (s *Stack) StartHandler(ctx context.Context, api *Node, ours bool) (receiver *Node, settings []string, err error) {
	consumer := s.environ(Consumer)
	said := func(name string) bool { return lookup(consumer, name) != "" }
	switch lookup(consumer, "HANDLER") {
	case "webhook":
		if said("WEBHOOK_URL") || said("WEBHOOK_URL_FILE") {
			return nil, nil, nil
		}
		if receiver, err = s.StartReceiver(ctx, api, string(Receiver)); err != nil {
			return nil, nil, err
		}
		return receiver, receiver.Deliveries(), nil
	case "sql":
		if said("EFFECT_FUNCTION") || !ours {
			return nil, nil, nil
		}
		return nil, InTransaction(), CreateEffects(ctx, s.opts.DatabaseURL, 0, false)
	}
	return nil, nil, nil
}
