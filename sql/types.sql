-- ---------------------------------------------------------------------------
-- Types
-- ---------------------------------------------------------------------------

-- BLOCKED -> SCHEDULED -> PENDING -> ACTIVE -> one of the last four.
-- The order is that of TaskStatus in src/ains.h.
CREATE TYPE ains.task_status AS ENUM
    ('BLOCKED', 'SCHEDULED', 'PENDING', 'ACTIVE',
     'COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED');
COMMENT ON TYPE ains.task_status IS 'where a task stands; the last four are final';

-- The order is that of AgentStatus in src/ains.h.
CREATE TYPE ains.agent_status AS ENUM
    ('AVAILABLE', 'BUSY', 'DRAINING', 'INACTIVE', 'DEAD');
COMMENT ON TYPE ains.agent_status IS 'what an agent is: AVAILABLE and BUSY ones may claim';
