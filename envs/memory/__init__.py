"""Worlds that show what matters once and ask for it later."""

from envs.core import register
from envs.memory.memory_chain import MemoryChain, MemoryChainParams, MemoryChainState
from envs.memory.repeat_copy import RepeatCopy, RepeatCopyParams, RepeatCopyState
from envs.memory.t_maze import TMaze, TMazeParams

__all__ = [
    "MemoryChain",
    "MemoryChainParams",
    "MemoryChainState",
    "RepeatCopy",
    "RepeatCopyParams",
    "RepeatCopyState",
    "TMaze",
    "TMazeParams",
]

for _world in (MemoryChain, RepeatCopy, TMaze):
    register(_world.id, _world)
