package devorch.testserver.api;

import com.fasterxml.jackson.annotation.JsonUnwrapped;

import io.kestra.core.models.Label;
import io.kestra.core.models.QueryFilter;
import io.kestra.core.models.executions.Execution;
import io.kestra.core.models.executions.ExecutionKilled;
import io.kestra.core.models.executions.ExecutionKilledExecution;
import io.kestra.core.models.executions.ExecutionKind;
import io.kestra.core.models.flows.Flow;
import io.kestra.core.queues.BroadcastQueueInterface;
import io.kestra.core.queues.QueueException;
import io.kestra.core.repositories.ArrayListTotal;
import io.kestra.core.repositories.ExecutionRepositoryInterface;
import io.kestra.core.runners.FlowInputOutput;
import io.kestra.core.services.ExecutionService;
import io.kestra.core.services.FlowService;
import io.kestra.core.services.WebhookService;
import io.kestra.core.storages.StorageInterface;
import io.kestra.core.utils.UriProvider;
import io.micronaut.core.annotation.Introspected;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.http.HttpHeaders;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.HttpResponse;
import io.micronaut.http.MediaType;
import io.micronaut.http.annotation.Body;
import io.micronaut.http.annotation.Consumes;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Delete;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.Post;
import io.micronaut.http.annotation.QueryValue;
import io.micronaut.http.server.exceptions.UnsupportedMediaException;
import io.micronaut.http.server.multipart.MultipartBody;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Optional;

import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * Executions, at the addresses of Kestra 2.0 (kestrapy 2.0, {@code executions_api.py}). Messages and statuses are those
 * observed on Kestra; inputs are read, and executions run, by the engine.
 */
@Controller("/api/v1/" + Tenant.MAIN + "/executions")
@ExecuteOn(TaskExecutors.IO)
class ExecutionController {
    /** How long Kestra's web server keeps an idle request open. */
    private static final Duration LONGEST_WAIT = Duration.ofMinutes(60);

    private final FlowService flows;
    private final FlowInputOutput inputs;
    private final WebhookService starter;
    private final ExecutionService service;
    private final ExecutionRepositoryInterface repository;
    private final StorageInterface storage;
    private final BroadcastQueueInterface<ExecutionKilled> kills;
    private final UriProvider uris;

    ExecutionController(
        FlowService flows,
        FlowInputOutput inputs,
        WebhookService starter,
        ExecutionService service,
        ExecutionRepositoryInterface repository,
        StorageInterface storage,
        BroadcastQueueInterface<ExecutionKilled> kills,
        UriProvider uris
    ) {
        this.flows = flows;
        this.inputs = inputs;
        this.starter = starter;
        this.service = service;
        this.repository = repository;
        this.storage = storage;
        this.kills = kills;
        this.uris = uris;
    }

    /** An execution with the address of its page. */
    @Introspected
    record WithUrl(@JsonUnwrapped Execution execution, URI url) {
    }

    /** How to start: the query parameters of both ways to do it. */
    private record Start(Flow flow, Execution execution, boolean toTheEnd) {
    }

    @Post("/{namespace}/{id}")
    @Consumes(MediaType.MULTIPART_FORM_DATA)
    Mono<WithUrl> createWithInputs(
        HttpRequest<?> request,
        String namespace,
        String id,
        @Nullable @Body MultipartBody parts,
        @QueryValue(defaultValue = "false") boolean wait,
        @Nullable @QueryValue Integer revision,
        @Nullable @QueryValue ExecutionKind kind
    ) {
        Start start = prepare(request, namespace, id, wait, revision, kind);
        return inputs.readExecutionInputs(start.flow(), start.execution(), parts == null ? Mono.empty() : parts)
            .flatMap(values -> run(start, values));
    }

    /** Without a body there are only default inputs; any body but a multipart form is refused (observed). */
    @Post("/{namespace}/{id}")
    @Consumes(MediaType.ALL)
    Mono<WithUrl> create(
        HttpRequest<?> request,
        String namespace,
        String id,
        @QueryValue(defaultValue = "false") boolean wait,
        @Nullable @QueryValue Integer revision,
        @Nullable @QueryValue ExecutionKind kind
    ) {
        request.getContentType().ifPresent(type -> {
            throw new UnsupportedMediaException(type.getName(), List.of(MediaType.MULTIPART_FORM_DATA));
        });
        Start start = prepare(request, namespace, id, wait, revision, kind);
        return run(start, inputs.readExecutionInputs(start.flow(), start.execution(), Map.of()));
    }

    private Start prepare(HttpRequest<?> request, String namespace, String id, boolean wait, @Nullable Integer revision, @Nullable ExecutionKind kind) {
        Flow flow = flows.getFlowIfExecutableOrThrow(Tenant.MAIN, namespace, id, Optional.ofNullable(revision));
        List<Label> labels = request.getParameters().getAll("labels").stream().map(ExecutionController::label).toList();
        return new Start(flow, Execution.newExecution(flow, null, labels, Optional.empty(), kind), wait);
    }

    private static Label label(String text) {
        String[] parts = text.split(":", 2);
        if (parts.length < 2 || parts[0].isBlank() || parts[1].isBlank()) {
            throw new IllegalArgumentException("Invalid label: " + text);
        }
        if (parts[0].startsWith(Label.SYSTEM_PREFIX)) {
            throw new IllegalArgumentException("System labels can only be set by Kestra itself, offending label: " + parts[0] + "=" + parts[1]);
        }
        return new Label(parts[0], parts[1]);
    }

    private Mono<WithUrl> run(Start start, Map<String, Object> values) {
        Execution execution = start.execution().withInputs(values);
        Mono<Execution> result = start.toTheEnd()
            ? Mono.fromCallable(() -> service.runAndWait(execution, start.flow(), LONGEST_WAIT)).subscribeOn(Schedulers.boundedElastic())
            : starter.startExecution(execution).thenReturn(execution);
        return result.map(this::withUrl);
    }

    private WithUrl withUrl(Execution execution) {
        return new WithUrl(execution, uris.executionUrl(execution));
    }

    @Get("/{executionId}")
    WithUrl get(String executionId) {
        return withUrl(find(executionId));
    }

    /** Results carry no task runs since 2.0. */
    @Get("/search")
    Results<Execution> search(HttpRequest<?> request) {
        ArrayListTotal<Execution> page = repository.find(
            Search.page(request, repository.sortMapping()::apply), Tenant.MAIN, Search.filters(request, QueryFilter.Resource.EXECUTION)
        );
        return new Results<>(page.stream().map(execution -> execution.withTaskRunList(null)).toList(), page.getTotal());
    }

    @Delete("/{executionId}/actions/kill")
    @Consumes(MediaType.ALL)
    WithUrl kill(String executionId, @QueryValue(defaultValue = "true") boolean isOnKillCascade) throws QueueException {
        Execution execution = find(executionId);
        if (execution.getState().isTerminated()) {
            throw new IllegalStateException("Execution is already finished, can't kill it");
        }
        kills.emit(
            ExecutionKilledExecution.builder()
                .tenantId(Tenant.MAIN)
                .executionId(executionId)
                .isOnKillCascade(isOnKillCascade)
                .state(ExecutionKilled.State.REQUESTED)
                .build()
        );
        return withUrl(find(executionId));
    }

    /** Only files of the execution itself are given out. */
    @Get(uri = "/{executionId}/file", produces = MediaType.APPLICATION_OCTET_STREAM)
    HttpResponse<byte[]> file(String executionId, @QueryValue URI path) throws IOException {
        Execution execution = find(executionId);
        String own = "/" + execution.getNamespace().replace('.', '/') + "/" + execution.getFlowId() + "/executions/" + executionId + "/";
        if (!"kestra".equals(path.getScheme()) || !path.getPath().startsWith(own) || path.getPath().contains("..")) {
            throw new IllegalArgumentException("Invalid path: " + path);
        }
        try (var content = storage.get(Tenant.MAIN, execution.getNamespace(), path)) {
            String name = Path.of(path.getPath()).getFileName().toString();
            return HttpResponse.ok(content.readAllBytes()).header(HttpHeaders.CONTENT_DISPOSITION, "attachment; filename=\"" + name + "\"");
        }
    }

    private Execution find(String executionId) {
        return repository.findById(Tenant.MAIN, executionId)
            .orElseThrow(() -> new NoSuchElementException("Execution '" + executionId + "' is not found."));
    }
}
