package devorch.testserver.api;

import devorch.testserver.api.Executions.WithUrl;

import io.kestra.core.models.Label;
import io.kestra.core.models.QueryFilter;
import io.kestra.core.models.executions.Execution;
import io.kestra.core.models.executions.ExecutionKind;
import io.kestra.core.models.flows.Flow;
import io.kestra.core.models.flows.Input;
import io.kestra.core.models.flows.State;
import io.kestra.core.models.flows.input.InputAndValue;
import io.kestra.core.repositories.ArrayListTotal;
import io.kestra.core.repositories.ExecutionRepositoryInterface;
import io.kestra.core.runners.FlowInputOutput;
import io.kestra.core.services.ExecutionService;
import io.kestra.core.services.FlowService;
import io.kestra.core.services.WebhookService;
import io.kestra.core.storages.StorageInterface;
import io.kestra.core.utils.ListUtils;
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
import java.time.Instant;
import java.time.ZonedDateTime;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * Executions, at the addresses that both dialects share (kestrapy 2.0, {@code executions_api.py}). Messages and statuses
 * are those observed on Kestra; inputs are read, and executions run, by the engine.
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
    private final Executions executions;
    private final ExecutionActions actions;

    ExecutionController(
        FlowService flows,
        FlowInputOutput inputs,
        WebhookService starter,
        ExecutionService service,
        ExecutionRepositoryInterface repository,
        StorageInterface storage,
        Executions executions,
        ExecutionActions actions
    ) {
        this.flows = flows;
        this.inputs = inputs;
        this.starter = starter;
        this.service = service;
        this.repository = repository;
        this.storage = storage;
        this.executions = executions;
        this.actions = actions;
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
        @Nullable @QueryValue ZonedDateTime scheduleDate,
        @Nullable @QueryValue ExecutionKind kind
    ) {
        Start start = prepare(request, namespace, id, wait, revision, scheduleDate, kind);
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
        @Nullable @QueryValue ZonedDateTime scheduleDate,
        @Nullable @QueryValue ExecutionKind kind
    ) {
        request.getContentType().ifPresent(type -> {
            throw new UnsupportedMediaException(type.getName(), List.of(MediaType.MULTIPART_FORM_DATA));
        });
        Start start = prepare(request, namespace, id, wait, revision, scheduleDate, kind);
        return run(start, inputs.readExecutionInputs(start.flow(), start.execution(), Map.of()));
    }

    private Start prepare(
        HttpRequest<?> request,
        String namespace,
        String id,
        boolean wait,
        @Nullable Integer revision,
        @Nullable ZonedDateTime scheduleDate,
        @Nullable ExecutionKind kind
    ) {
        Flow flow = flows.getFlowIfExecutableOrThrow(Tenant.MAIN, namespace, id, Optional.ofNullable(revision));
        Execution execution = Execution.newExecution(flow, null, labels(request), Optional.ofNullable(scheduleDate), kind);
        return new Start(flow, execution, wait);
    }

    private static List<Label> labels(HttpRequest<?> request) {
        return request.getParameters().getAll("labels").stream().map(ExecutionController::label).toList();
    }

    /** A caller may choose the system's labels for correlation and origin, no others. */
    private static Label label(String text) {
        String[] parts = text.split(":", 2);
        if (parts.length < 2 || parts[0].isBlank() || parts[1].isBlank()) {
            throw new IllegalArgumentException("Invalid label: " + text);
        }
        boolean free = parts[0].equals(Label.CORRELATION_ID) || parts[0].equals(Label.FROM);
        if (parts[0].startsWith(Label.SYSTEM_PREFIX) && !free) {
            throw new IllegalArgumentException("System labels can only be set by Kestra itself, offending label: " + parts[0] + "=" + parts[1]);
        }
        return new Label(parts[0], parts[1]);
    }

    private Mono<WithUrl> run(Start start, Map<String, Object> values) {
        Execution execution = start.execution().withInputs(values);
        Instant date = execution.getScheduleDate();
        Mono<Execution> result;
        if (start.toTheEnd()) {
            result = Mono.fromCallable(() -> service.runAndWait(execution, start.flow(), LONGEST_WAIT)).subscribeOn(Schedulers.boundedElastic());
        } else if (date != null) {
            result = actions.schedule(execution, date);
        } else {
            result = starter.startExecution(execution).thenReturn(execution);
        }
        return result.map(executions::show);
    }

    /** What the server thinks of inputs, before it is asked to run. */
    @Introspected
    record Validation(String id, String namespace, List<ValidatedInput> inputs, List<Map<String, Object>> checks) {
    }

    /** An input as it would count. */
    @Introspected
    record ValidatedInput(Input<?> input, Object value, boolean enabled, boolean isDefault, List<InputError> errors) {
        static ValidatedInput of(InputAndValue value) {
            List<InputError> errors = value.exceptions() == null
                ? List.of()
                : value.exceptions().stream().map(exception -> new InputError(exception.getMessage())).toList();
            return new ValidatedInput(value.input(), value.value(), value.enabled(), value.isDefault(), errors);
        }
    }

    /** Why an input cannot be taken. */
    @Introspected
    record InputError(String message) {
    }

    /** Answers 200 for inputs that would be refused as well. Files are not stored. */
    @Post("/{namespace}/{id}/validate")
    @Consumes(MediaType.MULTIPART_FORM_DATA)
    Mono<Validation> validateWithInputs(
        HttpRequest<?> request, String namespace, String id, @Nullable @Body MultipartBody parts, @Nullable @QueryValue Integer revision
    ) {
        Start start = prepare(request, namespace, id, false, revision, null, null);
        return inputs.validateExecutionInputs(start.flow().getInputs(), start.flow(), start.execution(), parts == null ? Mono.empty() : parts)
            .map(values -> validation(start.flow(), values));
    }

    @Post("/{namespace}/{id}/validate")
    @Consumes(MediaType.ALL)
    Validation validate(HttpRequest<?> request, String namespace, String id, @Nullable @QueryValue Integer revision) {
        Start start = prepare(request, namespace, id, false, revision, null, null);
        return validation(start.flow(), inputs.resolveInputs(ListUtils.emptyOnNull(start.flow().getInputs()), start.flow(), start.execution(), Map.of()));
    }

    private Validation validation(Flow flow, List<InputAndValue> values) {
        Map<String, Object> given = new HashMap<>();
        values.forEach(value -> given.put(value.input().getId(), value.value()));
        List<Map<String, Object>> checks = flows.getFailedChecks(flow, given).stream()
            .map(check -> Map.<String, Object>of("message", check.getMessage(), "style", check.getStyle(), "behavior", check.getBehavior()))
            .toList();
        return new Validation(flow.getId(), flow.getNamespace(), values.stream().map(ValidatedInput::of).toList(), checks);
    }

    @Get("/{executionId}")
    WithUrl get(String executionId) {
        return executions.show(executions.find(executionId));
    }

    @Get("/search")
    Results<WithUrl> search(HttpRequest<?> request) {
        return results(
            repository.find(
                Search.page(request, repository.sortMapping()::apply), Tenant.MAIN, Search.filters(request, QueryFilter.Resource.EXECUTION)
            )
        );
    }

    @Get
    Results<WithUrl> ofFlow(HttpRequest<?> request, @QueryValue String namespace, @QueryValue String flowId) {
        return results(repository.findByFlowId(Tenant.MAIN, namespace, flowId, Search.page(request, repository.sortMapping()::apply)));
    }

    private Results<WithUrl> results(ArrayListTotal<Execution> page) {
        return new Results<>(page.stream().map(executions::showFound).toList(), page.getTotal());
    }

    /** The newest execution of a flow. */
    @Introspected
    record Latest(String id, String flowId, String namespace, Instant startDate, State.Type status) {
    }

    @Post("/latest")
    List<Latest> latest(@Body List<ExecutionRepositoryInterface.FlowFilter> flows) {
        return repository.lastExecutions(Tenant.MAIN, flows).stream()
            .map(execution -> new Latest(
                execution.getId(), execution.getFlowId(), execution.getNamespace(), execution.getState().getStartDate(), execution.getState().getCurrent()
            ))
            .toList();
    }

    @Delete("/{executionId}")
    @Consumes(MediaType.ALL)
    HttpResponse<?> delete(
        String executionId,
        @QueryValue(defaultValue = "true") boolean deleteLogs,
        @QueryValue(defaultValue = "true") boolean deleteMetrics,
        @QueryValue(defaultValue = "true") boolean deleteStorage
    ) throws IOException {
        service.delete(executions.find(executionId), deleteLogs, deleteMetrics, deleteStorage);
        return HttpResponse.noContent();
    }

    @Get(uri = "/{executionId}/file", produces = MediaType.APPLICATION_OCTET_STREAM)
    HttpResponse<byte[]> file(String executionId, @QueryValue URI path) throws IOException {
        Execution execution = owner(executionId, path);
        try (var content = storage.get(Tenant.MAIN, execution.getNamespace(), path)) {
            String name = Path.of(path.getPath()).getFileName().toString();
            return HttpResponse.ok(content.readAllBytes()).header(HttpHeaders.CONTENT_DISPOSITION, "attachment; filename=\"" + name + "\"");
        }
    }

    @Get("/{executionId}/file/metas")
    Map<String, Long> fileMetas(String executionId, @QueryValue URI path) throws IOException {
        Execution execution = owner(executionId, path);
        return Map.of("size", storage.getAttributes(Tenant.MAIN, execution.getNamespace(), path).getSize());
    }

    /** Only files of the execution itself are given out. */
    private Execution owner(String executionId, URI path) {
        Execution execution = executions.find(executionId);
        String own = "/" + execution.getNamespace().replace('.', '/') + "/" + execution.getFlowId() + "/executions/" + executionId + "/";
        if (!"kestra".equals(path.getScheme()) || !path.getPath().startsWith(own) || path.getPath().contains("..")) {
            throw new IllegalArgumentException("Invalid path: " + path);
        }
        return execution;
    }
}
