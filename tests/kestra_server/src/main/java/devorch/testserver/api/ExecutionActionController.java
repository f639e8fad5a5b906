package devorch.testserver.api;

import devorch.testserver.Dialect;
import devorch.testserver.api.Executions.WithUrl;

import io.kestra.core.models.Label;
import io.kestra.core.models.flows.State;
import io.micronaut.context.annotation.Requires;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.http.MediaType;
import io.micronaut.http.annotation.Body;
import io.micronaut.http.annotation.Consumes;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Delete;
import io.micronaut.http.annotation.Post;
import io.micronaut.http.annotation.QueryValue;
import io.micronaut.http.server.multipart.MultipartBody;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.util.List;

import reactor.core.publisher.Mono;

/** Actions at the addresses that they have since 2.0 (kestrapy 2.0, {@code executions_api.py}); each answers the execution. */
@Requires(property = Dialect.PROPERTY, value = "2.0")
@Controller("/api/v1/" + Tenant.MAIN + "/executions/{executionId}/actions")
@ExecuteOn(TaskExecutors.IO)
class ExecutionActionController {
    private final ExecutionActions actions;
    private final Executions executions;

    ExecutionActionController(ExecutionActions actions, Executions executions) {
        this.actions = actions;
        this.executions = executions;
    }

    @Delete(uri = "/kill", produces = "text/json")
    @Consumes(MediaType.ALL)
    Mono<WithUrl> kill(String executionId, @QueryValue(defaultValue = "true") boolean isOnKillCascade) {
        return actions.kill(executionId, isOnKillCascade).map(executions::show);
    }

    @Post("/restart")
    @Consumes(MediaType.ALL)
    Mono<WithUrl> restart(String executionId, @Nullable @QueryValue Integer revision) {
        return actions.restart(executionId, revision).map(executions::show);
    }

    @Post("/replay")
    @Consumes(MediaType.ALL)
    Mono<WithUrl> replay(
        String executionId, @Nullable @QueryValue String taskRunId, @Nullable @QueryValue Integer revision, @Nullable @QueryValue String breakpoints
    ) {
        return actions.replay(executionId, taskRunId, revision, breakpoints).map(executions::show);
    }

    @Post("/replay-with-inputs")
    @Consumes(MediaType.MULTIPART_FORM_DATA)
    Mono<WithUrl> replayWithInputs(
        String executionId,
        @Nullable @QueryValue String taskRunId,
        @Nullable @QueryValue Integer revision,
        @Nullable @QueryValue String breakpoints,
        @Body MultipartBody inputs
    ) {
        return actions.replayWithInputs(executionId, taskRunId, revision, breakpoints, inputs).map(executions::show);
    }

    @Post("/resume")
    @Consumes(MediaType.MULTIPART_FORM_DATA)
    Mono<WithUrl> resumeWithInputs(String executionId, @Nullable @Body MultipartBody inputs) {
        return actions.resume(executionId, inputs).map(executions::show);
    }

    @Post("/resume")
    @Consumes(MediaType.ALL)
    Mono<WithUrl> resume(String executionId) {
        return actions.resume(executionId, null).map(executions::show);
    }

    @Post("/pause")
    @Consumes(MediaType.ALL)
    Mono<WithUrl> pause(String executionId) {
        return actions.pause(executionId).map(executions::show);
    }

    @Post("/force-run")
    @Consumes(MediaType.ALL)
    Mono<WithUrl> forceRun(String executionId) {
        return actions.forceRun(executionId).map(executions::show);
    }

    @Post("/change-status")
    @Consumes(MediaType.ALL)
    Mono<WithUrl> changeStatus(String executionId, @QueryValue State.Type status) {
        return actions.changeStatus(executionId, status).map(executions::show);
    }

    @Post("/labels")
    Mono<WithUrl> labels(String executionId, @Body List<Label> labels) {
        return actions.setLabels(executionId, labels).map(executions::show);
    }
}
