package auth

import "testing"

func TestKept(t *testing.T) {
	k := NewKept[int](2)
	key := func(b byte) [32]byte { return [32]byte{b} }
	k.Put(key(1), 1)
	k.Put(key(2), 2)
	if v, ok := k.Get(key(1)); !ok || v != 1 {
		t.Error("the first is forgotten")
	}
	k.Put(key(3), 3) // 2 was used least
	if _, ok := k.Get(key(2)); ok {
		t.Error("more than two are kept")
	}
	k.Put(key(1), 9)
	if v, ok := k.Get(key(1)); !ok || v != 9 || k.order.Len() != 2 || len(k.byKey) != 2 {
		t.Errorf("%d %v, %d kept", v, ok, k.order.Len())
	}
}
