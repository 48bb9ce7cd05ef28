package typing

import "sync"

// stream is one viewer's subscription to some rooms, as the service knows it.
type stream struct {
	rooms map[roomKey]Room

	mu     sync.Mutex
	check  bool   // guarded by mu: whether the rooms may still be seen is to be asked
	closed bool   // guarded by mu
	wake   func() // guarded by mu: told of whatever there is; nil: nobody asks
}

// recheck has it asked whether the rooms may still be seen.
func (st *stream) recheck() {
	st.mu.Lock()
	st.check = true
	st.mu.Unlock()
	st.raise()
}

// checks takes whether that is to be asked.
func (st *stream) checks() (check bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	check, st.check = st.check, false
	return check
}

// end closes it, once; a reader that waits looks.
func (st *stream) end() (first bool) {
	st.mu.Lock()
	first = !st.closed
	st.closed = true
	st.mu.Unlock()
	st.raise()
	return first
}

func (st *stream) over() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.closed
}

// raise says that there may be something to look at. It never blocks.
func (st *stream) raise() {
	st.mu.Lock()
	wake := st.wake
	st.mu.Unlock()
	if wake != nil {
		wake()
	}
}

func (st *stream) woken(f func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.wake = f
}

func (s *Service) enter(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range st.rooms {
		if s.streams[at.Channel] == nil {
			s.interest.enter(at.Channel)
			s.streams[at.Channel] = map[*stream]struct{}{}
		}
		s.streams[at.Channel][st] = struct{}{}
	}
}

func (s *Service) leave(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range st.rooms {
		delete(s.streams[at.Channel], st)
		if _, there := s.streams[at.Channel]; there && len(s.streams[at.Channel]) == 0 {
			delete(s.streams, at.Channel)
			s.interest.leave(at.Channel)
		}
	}
}
