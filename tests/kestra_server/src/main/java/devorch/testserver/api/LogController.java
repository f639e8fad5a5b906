package devorch.testserver.api;

import devorch.testserver.Dialect;

import io.kestra.core.models.QueryFilter;
import io.kestra.core.models.executions.LogEntry;
import io.kestra.core.repositories.LogDataStoreInterface;
import io.micronaut.core.annotation.Introspected;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.HttpResponse;
import io.micronaut.http.MediaType;
import io.micronaut.http.annotation.Consumes;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Delete;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.QueryValue;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.util.List;
import java.util.stream.Collectors;

import org.slf4j.event.Level;

/** Logs (kestrapy 2.0, {@code logs_api.py}). */
@Controller("/api/v1/" + Tenant.MAIN + "/logs")
@ExecuteOn(TaskExecutors.IO)
class LogController {
    private final LogDataStoreInterface logs;
    private final Dialect dialect;

    LogController(LogDataStoreInterface logs, Dialect dialect) {
        this.logs = logs;
        this.dialect = dialect;
    }

    /** One page of logs; since 2.0 it says how pages are counted. */
    @Introspected
    record Found(List<LogEntry> results, long total, String type) {
    }

    @Get("/search")
    Found search(HttpRequest<?> request) {
        var page = logs.find(Search.page(request, name -> name), Tenant.MAIN, Search.filters(request, QueryFilter.Resource.LOG));
        return new Found(page.getContent(), page.getTotalSize(), dialect.isOld() ? null : logs.paginationType().name());
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

    @Get(uri = "/{executionId}/download", produces = MediaType.TEXT_PLAIN)
    String download(
        String executionId,
        @Nullable @QueryValue Level minLevel,
        @Nullable @QueryValue String taskRunId,
        @Nullable @QueryValue String taskId,
        @Nullable @QueryValue Integer attempt
    ) {
        return ofExecution(executionId, minLevel, taskRunId, taskId, attempt).stream().map(LogEntry::toPrettyString).collect(Collectors.joining("\n"));
    }

    @Delete("/{executionId}")
    @Consumes(MediaType.ALL)
    HttpResponse<?> delete(
        String executionId,
        @Nullable @QueryValue Level minLevel,
        @Nullable @QueryValue String taskRunId,
        @Nullable @QueryValue String taskId,
        @Nullable @QueryValue Integer attempt
    ) {
        logs.deleteByQuery(Tenant.MAIN, executionId, taskId, taskRunId, minLevel, attempt);
        return HttpResponse.noContent();
    }
}
