from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TaskPriority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_PRIORITY_UNSPECIFIED: _ClassVar[TaskPriority]
    TASK_PRIORITY_HIGH: _ClassVar[TaskPriority]
    TASK_PRIORITY_LOW: _ClassVar[TaskPriority]

class TaskState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_STATE_UNSPECIFIED: _ClassVar[TaskState]
    TASK_STATE_WAITING: _ClassVar[TaskState]
    TASK_STATE_DELAYED: _ClassVar[TaskState]
    TASK_STATE_RUNNING: _ClassVar[TaskState]
    TASK_STATE_DONE: _ClassVar[TaskState]
    TASK_STATE_FAILED: _ClassVar[TaskState]
    TASK_STATE_CANCELLED: _ClassVar[TaskState]

class Durability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DURABILITY_UNSPECIFIED: _ClassVar[Durability]
    DURABILITY_DISK: _ClassVar[Durability]
    DURABILITY_MEMORY: _ClassVar[Durability]

class TaskReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_REASON_UNSPECIFIED: _ClassVar[TaskReason]
    TASK_REASON_ERROR: _ClassVar[TaskReason]
    TASK_REASON_TIMEOUT: _ClassVar[TaskReason]
    TASK_REASON_LOST: _ClassVar[TaskReason]
    TASK_REASON_CANCELLED: _ClassVar[TaskReason]

class CatchUp(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CATCH_UP_UNSPECIFIED: _ClassVar[CatchUp]
    CATCH_UP_SKIP: _ClassVar[CatchUp]
    CATCH_UP_ALL: _ClassVar[CatchUp]

class Overlap(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OVERLAP_UNSPECIFIED: _ClassVar[Overlap]
    OVERLAP_QUEUE: _ClassVar[Overlap]
    OVERLAP_REPLACE: _ClassVar[Overlap]
TASK_PRIORITY_UNSPECIFIED: TaskPriority
TASK_PRIORITY_HIGH: TaskPriority
TASK_PRIORITY_LOW: TaskPriority
TASK_STATE_UNSPECIFIED: TaskState
TASK_STATE_WAITING: TaskState
TASK_STATE_DELAYED: TaskState
TASK_STATE_RUNNING: TaskState
TASK_STATE_DONE: TaskState
TASK_STATE_FAILED: TaskState
TASK_STATE_CANCELLED: TaskState
DURABILITY_UNSPECIFIED: Durability
DURABILITY_DISK: Durability
DURABILITY_MEMORY: Durability
TASK_REASON_UNSPECIFIED: TaskReason
TASK_REASON_ERROR: TaskReason
TASK_REASON_TIMEOUT: TaskReason
TASK_REASON_LOST: TaskReason
TASK_REASON_CANCELLED: TaskReason
CATCH_UP_UNSPECIFIED: CatchUp
CATCH_UP_SKIP: CatchUp
CATCH_UP_ALL: CatchUp
OVERLAP_UNSPECIFIED: Overlap
OVERLAP_QUEUE: Overlap
OVERLAP_REPLACE: Overlap

class TaskPolicy(_message.Message):
    __slots__ = ("attempts", "backoff_nanos", "max_backoff_nanos", "soft_nanos", "hard_nanos", "keep_nanos")
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_NANOS_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_NANOS_FIELD_NUMBER: _ClassVar[int]
    SOFT_NANOS_FIELD_NUMBER: _ClassVar[int]
    HARD_NANOS_FIELD_NUMBER: _ClassVar[int]
    KEEP_NANOS_FIELD_NUMBER: _ClassVar[int]
    attempts: int
    backoff_nanos: int
    max_backoff_nanos: int
    soft_nanos: int
    hard_nanos: int
    keep_nanos: int
    def __init__(self, attempts: _Optional[int] = ..., backoff_nanos: _Optional[int] = ..., max_backoff_nanos: _Optional[int] = ..., soft_nanos: _Optional[int] = ..., hard_nanos: _Optional[int] = ..., keep_nanos: _Optional[int] = ...) -> None: ...

class NextTask(_message.Message):
    __slots__ = ("function", "priority", "policy")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    function: str
    priority: TaskPriority
    policy: TaskPolicy
    def __init__(self, function: _Optional[str] = ..., priority: _Optional[_Union[TaskPriority, str]] = ..., policy: _Optional[_Union[TaskPolicy, _Mapping]] = ...) -> None: ...

class TaskSpec(_message.Message):
    __slots__ = ("function", "input", "unique", "priority", "due_nanos", "delay_nanos", "policy", "durability", "then", "group", "background", "place", "parent", "token", "resubmitted", "fresh", "trace")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DUE_NANOS_FIELD_NUMBER: _ClassVar[int]
    DELAY_NANOS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    THEN_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESUBMITTED_FIELD_NUMBER: _ClassVar[int]
    FRESH_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    function: str
    input: bytes
    unique: str
    priority: TaskPriority
    due_nanos: int
    delay_nanos: int
    policy: TaskPolicy
    durability: Durability
    then: _containers.RepeatedCompositeFieldContainer[NextTask]
    group: int
    background: bool
    place: int
    parent: int
    token: int
    resubmitted: bool
    fresh: bool
    trace: str
    def __init__(self, function: _Optional[str] = ..., input: _Optional[bytes] = ..., unique: _Optional[str] = ..., priority: _Optional[_Union[TaskPriority, str]] = ..., due_nanos: _Optional[int] = ..., delay_nanos: _Optional[int] = ..., policy: _Optional[_Union[TaskPolicy, _Mapping]] = ..., durability: _Optional[_Union[Durability, str]] = ..., then: _Optional[_Iterable[_Union[NextTask, _Mapping]]] = ..., group: _Optional[int] = ..., background: bool = ..., place: _Optional[int] = ..., parent: _Optional[int] = ..., token: _Optional[int] = ..., resubmitted: bool = ..., fresh: bool = ..., trace: _Optional[str] = ...) -> None: ...

class TaskGroup(_message.Message):
    __slots__ = ("then", "partial", "durability")
    THEN_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    then: _containers.RepeatedCompositeFieldContainer[NextTask]
    partial: bool
    durability: Durability
    def __init__(self, then: _Optional[_Iterable[_Union[NextTask, _Mapping]]] = ..., partial: bool = ..., durability: _Optional[_Union[Durability, str]] = ...) -> None: ...

class GatheredResults(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[GatheredResult]
    def __init__(self, results: _Optional[_Iterable[_Union[GatheredResult, _Mapping]]] = ...) -> None: ...

class GatheredResult(_message.Message):
    __slots__ = ("done", "result", "task", "state", "error")
    DONE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    done: bool
    result: bytes
    task: int
    state: TaskState
    error: bytes
    def __init__(self, done: bool = ..., result: _Optional[bytes] = ..., task: _Optional[int] = ..., state: _Optional[_Union[TaskState, str]] = ..., error: _Optional[bytes] = ...) -> None: ...

class SubmitTasksRequest(_message.Message):
    __slots__ = ("tasks", "new_group")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NEW_GROUP_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[TaskSpec]
    new_group: TaskGroup
    def __init__(self, tasks: _Optional[_Iterable[_Union[TaskSpec, _Mapping]]] = ..., new_group: _Optional[_Union[TaskGroup, _Mapping]] = ...) -> None: ...

class SubmitTasksResponse(_message.Message):
    __slots__ = ("accepted", "group")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    accepted: _containers.RepeatedCompositeFieldContainer[Accepted]
    group: int
    def __init__(self, accepted: _Optional[_Iterable[_Union[Accepted, _Mapping]]] = ..., group: _Optional[int] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("task", "joined", "refused", "full", "epoch", "attempt")
    TASK_FIELD_NUMBER: _ClassVar[int]
    JOINED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    task: int
    joined: bool
    refused: str
    full: bool
    epoch: int
    attempt: int
    def __init__(self, task: _Optional[int] = ..., joined: bool = ..., refused: _Optional[str] = ..., full: bool = ..., epoch: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class CallTasksRequest(_message.Message):
    __slots__ = ("piece", "tasks", "cancel", "leave", "options", "explain")
    PIECE_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    piece: bytes
    tasks: TaskBatch
    cancel: TaskIndexes
    leave: TaskIndexes
    options: CallTasksOptions
    explain: TaskIndexes
    def __init__(self, piece: _Optional[bytes] = ..., tasks: _Optional[_Union[TaskBatch, _Mapping]] = ..., cancel: _Optional[_Union[TaskIndexes, _Mapping]] = ..., leave: _Optional[_Union[TaskIndexes, _Mapping]] = ..., options: _Optional[_Union[CallTasksOptions, _Mapping]] = ..., explain: _Optional[_Union[TaskIndexes, _Mapping]] = ...) -> None: ...

class CallTasksOptions(_message.Message):
    __slots__ = ("only_ends", "protocol")
    ONLY_ENDS_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    only_ends: bool
    protocol: int
    def __init__(self, only_ends: bool = ..., protocol: _Optional[int] = ...) -> None: ...

class TaskBatch(_message.Message):
    __slots__ = ("tasks", "abbreviated")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    ABBREVIATED_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[TaskSpec]
    abbreviated: bool
    def __init__(self, tasks: _Optional[_Iterable[_Union[TaskSpec, _Mapping]]] = ..., abbreviated: bool = ...) -> None: ...

class TaskIndexes(_message.Message):
    __slots__ = ("indexes",)
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    indexes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, indexes: _Optional[_Iterable[int]] = ...) -> None: ...

class CallTasksResponse(_message.Message):
    __slots__ = ("updates", "piece")
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[TaskUpdate]
    piece: bytes
    def __init__(self, updates: _Optional[_Iterable[_Union[TaskUpdate, _Mapping]]] = ..., piece: _Optional[bytes] = ...) -> None: ...

class TaskUpdate(_message.Message):
    __slots__ = ("index", "task", "accepted", "data", "warning", "progress", "retrying", "next", "result", "failed", "waiting")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RETRYING_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    index: int
    task: int
    accepted: Accepted
    data: bytes
    warning: bytes
    progress: TaskProgress
    retrying: TaskRetrying
    next: int
    result: bytes
    failed: TaskFailed
    waiting: TaskWaiting
    def __init__(self, index: _Optional[int] = ..., task: _Optional[int] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., data: _Optional[bytes] = ..., warning: _Optional[bytes] = ..., progress: _Optional[_Union[TaskProgress, _Mapping]] = ..., retrying: _Optional[_Union[TaskRetrying, _Mapping]] = ..., next: _Optional[int] = ..., result: _Optional[bytes] = ..., failed: _Optional[_Union[TaskFailed, _Mapping]] = ..., waiting: _Optional[_Union[TaskWaiting, _Mapping]] = ...) -> None: ...

class TaskWaiting(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class TaskProgress(_message.Message):
    __slots__ = ("done", "total")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class TaskRetrying(_message.Message):
    __slots__ = ("attempt", "reason", "error")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    reason: TaskReason
    error: bytes
    def __init__(self, attempt: _Optional[int] = ..., reason: _Optional[_Union[TaskReason, str]] = ..., error: _Optional[bytes] = ...) -> None: ...

class TaskFailed(_message.Message):
    __slots__ = ("reason", "error")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    reason: TaskReason
    error: bytes
    def __init__(self, reason: _Optional[_Union[TaskReason, str]] = ..., error: _Optional[bytes] = ...) -> None: ...

class TaskName(_message.Message):
    __slots__ = ("task", "function", "unique")
    TASK_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_FIELD_NUMBER: _ClassVar[int]
    task: int
    function: str
    unique: str
    def __init__(self, task: _Optional[int] = ..., function: _Optional[str] = ..., unique: _Optional[str] = ...) -> None: ...

class WaitTaskRequest(_message.Message):
    __slots__ = ("name", "only_ends", "parent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ONLY_ENDS_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    name: TaskName
    only_ends: bool
    parent: int
    def __init__(self, name: _Optional[_Union[TaskName, _Mapping]] = ..., only_ends: bool = ..., parent: _Optional[int] = ...) -> None: ...

class WaitTaskResponse(_message.Message):
    __slots__ = ("updates", "piece")
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[TaskUpdate]
    piece: bytes
    def __init__(self, updates: _Optional[_Iterable[_Union[TaskUpdate, _Mapping]]] = ..., piece: _Optional[bytes] = ...) -> None: ...

class OpenGroupRequest(_message.Message):
    __slots__ = ("group", "token", "resubmitted")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESUBMITTED_FIELD_NUMBER: _ClassVar[int]
    group: TaskGroup
    token: int
    resubmitted: bool
    def __init__(self, group: _Optional[_Union[TaskGroup, _Mapping]] = ..., token: _Optional[int] = ..., resubmitted: bool = ...) -> None: ...

class OpenGroupResponse(_message.Message):
    __slots__ = ("group",)
    GROUP_FIELD_NUMBER: _ClassVar[int]
    group: int
    def __init__(self, group: _Optional[int] = ...) -> None: ...

class CloseGroupRequest(_message.Message):
    __slots__ = ("group",)
    GROUP_FIELD_NUMBER: _ClassVar[int]
    group: int
    def __init__(self, group: _Optional[int] = ...) -> None: ...

class CloseGroupResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CancelTasksRequest(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tasks: _Optional[_Iterable[int]] = ...) -> None: ...

class CancelTasksResponse(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tasks: _Optional[_Iterable[int]] = ...) -> None: ...

class RunTasksRequest(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tasks: _Optional[_Iterable[int]] = ...) -> None: ...

class RunTasksResponse(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tasks: _Optional[_Iterable[int]] = ...) -> None: ...

class RetryTasksRequest(_message.Message):
    __slots__ = ("tasks", "function", "error", "older_nanos", "all")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    OLDER_NANOS_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedScalarFieldContainer[int]
    function: str
    error: str
    older_nanos: int
    all: bool
    def __init__(self, tasks: _Optional[_Iterable[int]] = ..., function: _Optional[str] = ..., error: _Optional[str] = ..., older_nanos: _Optional[int] = ..., all: bool = ...) -> None: ...

class RetryTasksResponse(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tasks: _Optional[_Iterable[int]] = ...) -> None: ...

class DropTasksRequest(_message.Message):
    __slots__ = ("tasks", "function", "error", "older_nanos", "all")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    OLDER_NANOS_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedScalarFieldContainer[int]
    function: str
    error: str
    older_nanos: int
    all: bool
    def __init__(self, tasks: _Optional[_Iterable[int]] = ..., function: _Optional[str] = ..., error: _Optional[str] = ..., older_nanos: _Optional[int] = ..., all: bool = ...) -> None: ...

class DropTasksResponse(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tasks: _Optional[_Iterable[int]] = ...) -> None: ...

class GetTaskRequest(_message.Message):
    __slots__ = ("name", "bodies")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BODIES_FIELD_NUMBER: _ClassVar[int]
    name: TaskName
    bodies: bool
    def __init__(self, name: _Optional[_Union[TaskName, _Mapping]] = ..., bodies: bool = ...) -> None: ...

class GetTaskResponse(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: TaskInfo
    def __init__(self, task: _Optional[_Union[TaskInfo, _Mapping]] = ...) -> None: ...

class TaskInfo(_message.Message):
    __slots__ = ("task", "function", "state", "dead", "priority", "background", "durable", "attempts", "waiters", "size", "due_nanos", "progress", "worker", "policy", "unique", "error", "input", "result", "waiting_reason", "lost", "ended_nanos")
    TASK_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    WAITERS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DUE_NANOS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    WAITING_REASON_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    ENDED_NANOS_FIELD_NUMBER: _ClassVar[int]
    task: int
    function: str
    state: TaskState
    dead: bool
    priority: TaskPriority
    background: bool
    durable: bool
    attempts: int
    waiters: int
    size: int
    due_nanos: int
    progress: TaskProgress
    worker: str
    policy: TaskPolicy
    unique: str
    error: bytes
    input: bytes
    result: bytes
    waiting_reason: str
    lost: int
    ended_nanos: int
    def __init__(self, task: _Optional[int] = ..., function: _Optional[str] = ..., state: _Optional[_Union[TaskState, str]] = ..., dead: bool = ..., priority: _Optional[_Union[TaskPriority, str]] = ..., background: bool = ..., durable: bool = ..., attempts: _Optional[int] = ..., waiters: _Optional[int] = ..., size: _Optional[int] = ..., due_nanos: _Optional[int] = ..., progress: _Optional[_Union[TaskProgress, _Mapping]] = ..., worker: _Optional[str] = ..., policy: _Optional[_Union[TaskPolicy, _Mapping]] = ..., unique: _Optional[str] = ..., error: _Optional[bytes] = ..., input: _Optional[bytes] = ..., result: _Optional[bytes] = ..., waiting_reason: _Optional[str] = ..., lost: _Optional[int] = ..., ended_nanos: _Optional[int] = ...) -> None: ...

class ListTasksRequest(_message.Message):
    __slots__ = ("limit", "function", "states")
    FROM_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    limit: int
    function: str
    states: _containers.RepeatedScalarFieldContainer[TaskState]
    def __init__(self, limit: _Optional[int] = ..., function: _Optional[str] = ..., states: _Optional[_Iterable[_Union[TaskState, str]]] = ..., **kwargs) -> None: ...

class ListTasksResponse(_message.Message):
    __slots__ = ("tasks", "next")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[TaskInfo]
    next: int
    def __init__(self, tasks: _Optional[_Iterable[_Union[TaskInfo, _Mapping]]] = ..., next: _Optional[int] = ...) -> None: ...

class ListDeadTasksRequest(_message.Message):
    __slots__ = ("function", "limit", "error", "older_nanos")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    OLDER_NANOS_FIELD_NUMBER: _ClassVar[int]
    function: str
    limit: int
    error: str
    older_nanos: int
    def __init__(self, function: _Optional[str] = ..., limit: _Optional[int] = ..., error: _Optional[str] = ..., older_nanos: _Optional[int] = ...) -> None: ...

class ListDeadTasksResponse(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[TaskInfo]
    def __init__(self, tasks: _Optional[_Iterable[_Union[TaskInfo, _Mapping]]] = ...) -> None: ...

class FunctionLimits(_message.Message):
    __slots__ = ("queue_high", "queue_normal", "queue_low", "concurrency", "rate", "burst", "needs", "weight")
    class NeedsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    QUEUE_HIGH_FIELD_NUMBER: _ClassVar[int]
    QUEUE_NORMAL_FIELD_NUMBER: _ClassVar[int]
    QUEUE_LOW_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    queue_high: int
    queue_normal: int
    queue_low: int
    concurrency: int
    rate: float
    burst: int
    needs: _containers.ScalarMap[str, int]
    weight: int
    def __init__(self, queue_high: _Optional[int] = ..., queue_normal: _Optional[int] = ..., queue_low: _Optional[int] = ..., concurrency: _Optional[int] = ..., rate: _Optional[float] = ..., burst: _Optional[int] = ..., needs: _Optional[_Mapping[str, int]] = ..., weight: _Optional[int] = ...) -> None: ...

class SetFunctionRequest(_message.Message):
    __slots__ = ("function", "limits")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    function: str
    limits: FunctionLimits
    def __init__(self, function: _Optional[str] = ..., limits: _Optional[_Union[FunctionLimits, _Mapping]] = ...) -> None: ...

class SetFunctionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PauseFunctionRequest(_message.Message):
    __slots__ = ("function", "paused")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    function: str
    paused: bool
    def __init__(self, function: _Optional[str] = ..., paused: bool = ...) -> None: ...

class PauseFunctionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DropFunctionRequest(_message.Message):
    __slots__ = ("function",)
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    function: str
    def __init__(self, function: _Optional[str] = ...) -> None: ...

class DropFunctionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetBudgetRequest(_message.Message):
    __slots__ = ("budget", "size")
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    budget: str
    size: int
    def __init__(self, budget: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class SetBudgetResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFunctionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFunctionsResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: FunctionsStatus
    def __init__(self, status: _Optional[_Union[FunctionsStatus, _Mapping]] = ...) -> None: ...

class WatchFunctionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchFunctionsResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: FunctionsStatus
    def __init__(self, status: _Optional[_Union[FunctionsStatus, _Mapping]] = ...) -> None: ...

class FunctionsStatus(_message.Message):
    __slots__ = ("totals", "functions", "budgets")
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    totals: TaskCounts
    functions: _containers.RepeatedCompositeFieldContainer[FunctionStatus]
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetStatus]
    def __init__(self, totals: _Optional[_Union[TaskCounts, _Mapping]] = ..., functions: _Optional[_Iterable[_Union[FunctionStatus, _Mapping]]] = ..., budgets: _Optional[_Iterable[_Union[BudgetStatus, _Mapping]]] = ...) -> None: ...

class TaskCounts(_message.Message):
    __slots__ = ("submitted", "waiting", "delayed", "running", "done", "failed", "cancelled")
    SUBMITTED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    DELAYED_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    submitted: int
    waiting: int
    delayed: int
    running: int
    done: int
    failed: int
    cancelled: int
    def __init__(self, submitted: _Optional[int] = ..., waiting: _Optional[int] = ..., delayed: _Optional[int] = ..., running: _Optional[int] = ..., done: _Optional[int] = ..., failed: _Optional[int] = ..., cancelled: _Optional[int] = ...) -> None: ...

class FunctionStatus(_message.Message):
    __slots__ = ("function", "counts", "waiting_high", "waiting_normal", "waiting_low", "dead", "workers", "limits", "paused")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    WAITING_HIGH_FIELD_NUMBER: _ClassVar[int]
    WAITING_NORMAL_FIELD_NUMBER: _ClassVar[int]
    WAITING_LOW_FIELD_NUMBER: _ClassVar[int]
    DEAD_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    function: str
    counts: TaskCounts
    waiting_high: int
    waiting_normal: int
    waiting_low: int
    dead: int
    workers: int
    limits: FunctionLimits
    paused: bool
    def __init__(self, function: _Optional[str] = ..., counts: _Optional[_Union[TaskCounts, _Mapping]] = ..., waiting_high: _Optional[int] = ..., waiting_normal: _Optional[int] = ..., waiting_low: _Optional[int] = ..., dead: _Optional[int] = ..., workers: _Optional[int] = ..., limits: _Optional[_Union[FunctionLimits, _Mapping]] = ..., paused: bool = ...) -> None: ...

class BudgetStatus(_message.Message):
    __slots__ = ("budget", "size", "used", "waiting")
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    budget: str
    size: int
    used: int
    waiting: int
    def __init__(self, budget: _Optional[str] = ..., size: _Optional[int] = ..., used: _Optional[int] = ..., waiting: _Optional[int] = ...) -> None: ...

class ListTaskWorkersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTaskWorkersResponse(_message.Message):
    __slots__ = ("workers",)
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedCompositeFieldContainer[TaskWorkerStatus]
    def __init__(self, workers: _Optional[_Iterable[_Union[TaskWorkerStatus, _Mapping]]] = ...) -> None: ...

class TaskWorkerStatus(_message.Message):
    __slots__ = ("worker", "functions", "running", "slots", "reserved", "gearman", "slots_of")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    GEARMAN_FIELD_NUMBER: _ClassVar[int]
    SLOTS_OF_FIELD_NUMBER: _ClassVar[int]
    worker: str
    functions: _containers.RepeatedScalarFieldContainer[str]
    running: _containers.RepeatedScalarFieldContainer[int]
    slots: int
    reserved: int
    gearman: bool
    slots_of: str
    def __init__(self, worker: _Optional[str] = ..., functions: _Optional[_Iterable[str]] = ..., running: _Optional[_Iterable[int]] = ..., slots: _Optional[int] = ..., reserved: _Optional[int] = ..., gearman: bool = ..., slots_of: _Optional[str] = ...) -> None: ...

class WorkTasksRequest(_message.Message):
    __slots__ = ("hello", "piece", "reports", "heartbeat", "abilities", "leaving")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ABILITIES_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    hello: TaskHello
    piece: bytes
    reports: TaskReports
    heartbeat: TaskHeartbeat
    abilities: TaskAbilities
    leaving: TaskLeaving
    def __init__(self, hello: _Optional[_Union[TaskHello, _Mapping]] = ..., piece: _Optional[bytes] = ..., reports: _Optional[_Union[TaskReports, _Mapping]] = ..., heartbeat: _Optional[_Union[TaskHeartbeat, _Mapping]] = ..., abilities: _Optional[_Union[TaskAbilities, _Mapping]] = ..., leaving: _Optional[_Union[TaskLeaving, _Mapping]] = ...) -> None: ...

class TaskHello(_message.Message):
    __slots__ = ("worker", "abilities", "attempts", "slots_of", "protocol", "cluster")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ABILITIES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_OF_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    worker: str
    abilities: TaskAbilities
    attempts: _containers.RepeatedCompositeFieldContainer[TaskAttempt]
    slots_of: str
    protocol: int
    cluster: str
    def __init__(self, worker: _Optional[str] = ..., abilities: _Optional[_Union[TaskAbilities, _Mapping]] = ..., attempts: _Optional[_Iterable[_Union[TaskAttempt, _Mapping]]] = ..., slots_of: _Optional[str] = ..., protocol: _Optional[int] = ..., cluster: _Optional[str] = ...) -> None: ...

class TaskAbilities(_message.Message):
    __slots__ = ("functions", "slots", "reserved")
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    functions: _containers.RepeatedCompositeFieldContainer[TaskFunction]
    slots: int
    reserved: int
    def __init__(self, functions: _Optional[_Iterable[_Union[TaskFunction, _Mapping]]] = ..., slots: _Optional[int] = ..., reserved: _Optional[int] = ...) -> None: ...

class TaskFunction(_message.Message):
    __slots__ = ("function", "timeout_nanos")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_NANOS_FIELD_NUMBER: _ClassVar[int]
    function: str
    timeout_nanos: int
    def __init__(self, function: _Optional[str] = ..., timeout_nanos: _Optional[int] = ...) -> None: ...

class TaskAttempt(_message.Message):
    __slots__ = ("task", "attempt")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    task: int
    attempt: int
    def __init__(self, task: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class TaskReports(_message.Message):
    __slots__ = ("reports",)
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[TaskReport]
    def __init__(self, reports: _Optional[_Iterable[_Union[TaskReport, _Mapping]]] = ...) -> None: ...

class TaskReport(_message.Message):
    __slots__ = ("attempt", "data", "warning", "progress", "result", "failed", "fatal", "leader")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    FATAL_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    attempt: TaskAttempt
    data: bytes
    warning: bytes
    progress: TaskProgress
    result: bytes
    failed: bytes
    fatal: bytes
    leader: int
    def __init__(self, attempt: _Optional[_Union[TaskAttempt, _Mapping]] = ..., data: _Optional[bytes] = ..., warning: _Optional[bytes] = ..., progress: _Optional[_Union[TaskProgress, _Mapping]] = ..., result: _Optional[bytes] = ..., failed: _Optional[bytes] = ..., fatal: _Optional[bytes] = ..., leader: _Optional[int] = ...) -> None: ...

class TaskHeartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TaskLeaving(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WorkTasksResponse(_message.Message):
    __slots__ = ("welcome", "acks", "stops", "assigns", "piece", "pauses", "resumes")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    STOPS_FIELD_NUMBER: _ClassVar[int]
    ASSIGNS_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    PAUSES_FIELD_NUMBER: _ClassVar[int]
    RESUMES_FIELD_NUMBER: _ClassVar[int]
    welcome: TaskWelcome
    acks: _containers.RepeatedCompositeFieldContainer[TaskAttempt]
    stops: _containers.RepeatedCompositeFieldContainer[TaskStop]
    assigns: _containers.RepeatedCompositeFieldContainer[TaskAssign]
    piece: bytes
    pauses: _containers.RepeatedScalarFieldContainer[int]
    resumes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, welcome: _Optional[_Union[TaskWelcome, _Mapping]] = ..., acks: _Optional[_Iterable[_Union[TaskAttempt, _Mapping]]] = ..., stops: _Optional[_Iterable[_Union[TaskStop, _Mapping]]] = ..., assigns: _Optional[_Iterable[_Union[TaskAssign, _Mapping]]] = ..., piece: _Optional[bytes] = ..., pauses: _Optional[_Iterable[int]] = ..., resumes: _Optional[_Iterable[int]] = ...) -> None: ...

class TaskWelcome(_message.Message):
    __slots__ = ("lease_nanos", "cluster")
    LEASE_NANOS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    lease_nanos: int
    cluster: str
    def __init__(self, lease_nanos: _Optional[int] = ..., cluster: _Optional[str] = ...) -> None: ...

class TaskStop(_message.Message):
    __slots__ = ("attempt", "soft", "reason")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    attempt: TaskAttempt
    soft: bool
    reason: TaskReason
    def __init__(self, attempt: _Optional[_Union[TaskAttempt, _Mapping]] = ..., soft: bool = ..., reason: _Optional[_Union[TaskReason, str]] = ...) -> None: ...

class TaskAssign(_message.Message):
    __slots__ = ("attempt", "function", "input", "unique", "gathered", "soft_nanos", "hard_nanos", "last", "origin", "trace")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_FIELD_NUMBER: _ClassVar[int]
    GATHERED_FIELD_NUMBER: _ClassVar[int]
    SOFT_NANOS_FIELD_NUMBER: _ClassVar[int]
    HARD_NANOS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    attempt: TaskAttempt
    function: str
    input: bytes
    unique: str
    gathered: bool
    soft_nanos: int
    hard_nanos: int
    last: bool
    origin: int
    trace: str
    def __init__(self, attempt: _Optional[_Union[TaskAttempt, _Mapping]] = ..., function: _Optional[str] = ..., input: _Optional[bytes] = ..., unique: _Optional[str] = ..., gathered: bool = ..., soft_nanos: _Optional[int] = ..., hard_nanos: _Optional[int] = ..., last: bool = ..., origin: _Optional[int] = ..., trace: _Optional[str] = ...) -> None: ...

class ScheduleSpec(_message.Message):
    __slots__ = ("name", "cron", "zone", "jitter_nanos", "catch_up", "overlap", "function", "input", "program", "priority", "policy")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CRON_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    JITTER_NANOS_FIELD_NUMBER: _ClassVar[int]
    CATCH_UP_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    name: str
    cron: str
    zone: str
    jitter_nanos: int
    catch_up: CatchUp
    overlap: Overlap
    function: str
    input: bytes
    program: _containers.RepeatedScalarFieldContainer[str]
    priority: TaskPriority
    policy: TaskPolicy
    def __init__(self, name: _Optional[str] = ..., cron: _Optional[str] = ..., zone: _Optional[str] = ..., jitter_nanos: _Optional[int] = ..., catch_up: _Optional[_Union[CatchUp, str]] = ..., overlap: _Optional[_Union[Overlap, str]] = ..., function: _Optional[str] = ..., input: _Optional[bytes] = ..., program: _Optional[_Iterable[str]] = ..., priority: _Optional[_Union[TaskPriority, str]] = ..., policy: _Optional[_Union[TaskPolicy, _Mapping]] = ...) -> None: ...

class SetScheduleRequest(_message.Message):
    __slots__ = ("spec", "only_new")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ONLY_NEW_FIELD_NUMBER: _ClassVar[int]
    spec: ScheduleSpec
    only_new: bool
    def __init__(self, spec: _Optional[_Union[ScheduleSpec, _Mapping]] = ..., only_new: bool = ...) -> None: ...

class SetScheduleResponse(_message.Message):
    __slots__ = ("schedule",)
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    schedule: Schedule
    def __init__(self, schedule: _Optional[_Union[Schedule, _Mapping]] = ...) -> None: ...

class RemoveScheduleRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemoveScheduleResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PauseScheduleRequest(_message.Message):
    __slots__ = ("name", "paused")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    name: str
    paused: bool
    def __init__(self, name: _Optional[str] = ..., paused: bool = ...) -> None: ...

class PauseScheduleResponse(_message.Message):
    __slots__ = ("schedule",)
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    schedule: Schedule
    def __init__(self, schedule: _Optional[_Union[Schedule, _Mapping]] = ...) -> None: ...

class RunScheduleRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RunScheduleResponse(_message.Message):
    __slots__ = ("schedule",)
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    schedule: Schedule
    def __init__(self, schedule: _Optional[_Union[Schedule, _Mapping]] = ...) -> None: ...

class ListSchedulesRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListSchedulesResponse(_message.Message):
    __slots__ = ("schedules",)
    SCHEDULES_FIELD_NUMBER: _ClassVar[int]
    schedules: _containers.RepeatedCompositeFieldContainer[Schedule]
    def __init__(self, schedules: _Optional[_Iterable[_Union[Schedule, _Mapping]]] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("spec", "paused", "created_nanos", "next_nanos", "due_nanos", "task", "waiting", "problem", "success_nanos", "due", "fired", "skipped", "missed", "failed", "history")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    CREATED_NANOS_FIELD_NUMBER: _ClassVar[int]
    NEXT_NANOS_FIELD_NUMBER: _ClassVar[int]
    DUE_NANOS_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_NANOS_FIELD_NUMBER: _ClassVar[int]
    DUE_FIELD_NUMBER: _ClassVar[int]
    FIRED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    spec: ScheduleSpec
    paused: bool
    created_nanos: int
    next_nanos: int
    due_nanos: int
    task: int
    waiting: int
    problem: str
    success_nanos: int
    due: int
    fired: int
    skipped: int
    missed: int
    failed: int
    history: _containers.RepeatedCompositeFieldContainer[ScheduleFire]
    def __init__(self, spec: _Optional[_Union[ScheduleSpec, _Mapping]] = ..., paused: bool = ..., created_nanos: _Optional[int] = ..., next_nanos: _Optional[int] = ..., due_nanos: _Optional[int] = ..., task: _Optional[int] = ..., waiting: _Optional[int] = ..., problem: _Optional[str] = ..., success_nanos: _Optional[int] = ..., due: _Optional[int] = ..., fired: _Optional[int] = ..., skipped: _Optional[int] = ..., missed: _Optional[int] = ..., failed: _Optional[int] = ..., history: _Optional[_Iterable[_Union[ScheduleFire, _Mapping]]] = ...) -> None: ...

class ScheduleFire(_message.Message):
    __slots__ = ("time_nanos", "started_nanos", "ended_nanos", "task", "outcome", "count", "manual")
    TIME_NANOS_FIELD_NUMBER: _ClassVar[int]
    STARTED_NANOS_FIELD_NUMBER: _ClassVar[int]
    ENDED_NANOS_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MANUAL_FIELD_NUMBER: _ClassVar[int]
    time_nanos: int
    started_nanos: int
    ended_nanos: int
    task: int
    outcome: str
    count: int
    manual: bool
    def __init__(self, time_nanos: _Optional[int] = ..., started_nanos: _Optional[int] = ..., ended_nanos: _Optional[int] = ..., task: _Optional[int] = ..., outcome: _Optional[str] = ..., count: _Optional[int] = ..., manual: bool = ...) -> None: ...
