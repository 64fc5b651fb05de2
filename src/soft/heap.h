/*
 * soft/heap.h
 *		A bounded min-max heap of ready keys: both ends in O(log n).
 *
 * M. D. Atkinson, J.-R. Sack, N. Santoro, T. Strothotte: "Min-max heaps and
 * generalized priority queues", CACM 29 (1986). It lies in shared memory;
 * whoever calls holds the lock of what it is part of. Nothing here fails.
 */
#ifndef AINS_HEAP_H
#define AINS_HEAP_H

#include "ains.h"

typedef struct Heap
{
	int32		count;
	int32		capacity;
	ReadyKey	keys[FLEXIBLE_ARRAY_MEMBER];
} Heap;

#define HEAP_SIZE(capacity)	(offsetof(Heap, keys) + sizeof(ReadyKey) * (Size) (capacity))

static inline int
ready_key_compare(ReadyKey a, ReadyKey b)
{
	if (a.rank != b.rank)
		return a.rank < b.rank ? -1 : 1;
	if (a.task_id != b.task_id)
		return a.task_id < b.task_id ? -1 : 1;
	return 0;
}

extern void heap_init(Heap *heap, int32 capacity);
extern void heap_add(Heap *heap, ReadyKey key);
extern ReadyKey heap_smallest(const Heap *heap);
extern ReadyKey heap_largest(const Heap *heap);
extern ReadyKey heap_take_smallest(Heap *heap);
extern void heap_drop_from(Heap *heap, ReadyKey bound);
extern int	heap_order(const void *a, const void *b);
extern int	heap_copy(const Heap *heap, ReadyKey *copy);
extern bool heap_contains(const Heap *heap, ReadyKey key);
extern bool heap_is_valid(const Heap *heap);

#endif							/* AINS_HEAP_H */
