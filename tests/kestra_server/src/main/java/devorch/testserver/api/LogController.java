package devorch.testserver.api;

import io.kestra.core.models.executions.LogEntry;
import io.kestra.core.repositories.LogDataStoreInterface;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.QueryValue;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.util.List;

import org.slf4j.event.Level;

/** The logs of an execution (kestrapy 2.0, {@code logs_api.py}). */
@Controller("/api/v1/" + Tenant.MAIN + "/logs")
@ExecuteOn(TaskExecutors.IO)
class LogController {
    private final LogDataStoreInterface logs;

    LogController(LogDataStoreInterface logs) {
        this.logs = logs;
    }

    @Get("/{executionId}")
    List<LogEntry> ofExecution(
        String executionId,
        @Nullable @QueryValue Level minLevel,
        @Nullable @QueryValue String taskRunId,
        @Nullable @QueryValue String taskId,
        @Nullable @QueryValue Integer attempt
    ) {
        if (taskId != null) {
            return logs.findByExecutionIdAndTaskId(Tenant.MAIN, executionId, taskId, minLevel);
        }
        if (taskRunId != null && attempt != null) {
            return logs.findByExecutionIdAndTaskRunIdAndAttempt(Tenant.MAIN, executionId, taskRunId, minLevel, attempt);
        }
        if (taskRunId != null) {
            return logs.findByExecutionIdAndTaskRunId(Tenant.MAIN, executionId, taskRunId, minLevel);
        }
        return logs.findByExecutionId(Tenant.MAIN, executionId, minLevel);
    }
}
