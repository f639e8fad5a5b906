package devorch.testserver.api;

import devorch.testserver.Dialect;

import io.kestra.core.exceptions.InternalException;
import io.kestra.core.models.QueryFilter;
import io.kestra.core.models.SearchResult;
import io.kestra.core.models.SourceMatch;
import io.kestra.core.models.flows.Flow;
import io.kestra.core.models.flows.FlowInterface;
import io.kestra.core.models.flows.FlowSource;
import io.kestra.core.models.flows.FlowWithSource;
import io.kestra.core.models.flows.GenericFlow;
import io.kestra.core.models.flows.SourceSearchScope;
import io.kestra.core.models.hierarchies.FlowGraph;
import io.kestra.core.models.tasks.Task;
import io.kestra.core.models.topologies.FlowTopologyGraph;
import io.kestra.core.models.triggers.AbstractTrigger;
import io.kestra.core.models.validations.ModelValidator;
import io.kestra.core.models.validations.ValidateConstraintViolation;
import io.kestra.core.repositories.ArrayListTotal;
import io.kestra.core.repositories.FlowRepositoryInterface;
import io.kestra.core.repositories.FlowTopologyRepositoryInterface;
import io.kestra.core.serializers.YamlParser;
import io.kestra.core.services.FlowParsingService;
import io.kestra.core.services.FlowService;
import io.kestra.core.services.GraphService;
import io.kestra.core.topologies.FlowTopologyService;
import io.micronaut.core.annotation.Introspected;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.data.model.Pageable;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.HttpStatus;
import io.micronaut.http.MediaType;
import io.micronaut.http.annotation.Body;
import io.micronaut.http.annotation.Consumes;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Delete;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.Post;
import io.micronaut.http.annotation.Put;
import io.micronaut.http.annotation.QueryValue;
import io.micronaut.http.annotation.Status;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

import jakarta.validation.ConstraintViolationException;

/**
 * Flows, at the addresses of Kestra 2.0 (kestrapy 2.0, {@code flows_api.py}). Sources, revisions, validation and soft
 * deletes are the engine's own; statuses are those observed on Kestra, with 2.0's 409 for a flow that exists.
 */
@Controller("/api/v1/" + Tenant.MAIN + "/flows")
@ExecuteOn(TaskExecutors.IO)
class FlowController {
    private static final String YAML = "application/x-yaml";
    private static final Map<String, String> SORTABLE = Map.of("id", "id", "namespace", "namespace");

    private final FlowService service;
    private final FlowRepositoryInterface repository;
    private final FlowParsingService parsing;
    private final ModelValidator validator;
    private final GraphService graphs;
    private final FlowTopologyService topologies;
    private final FlowTopologyRepositoryInterface topologyRepository;
    private final Dialect dialect;

    FlowController(
        FlowService service,
        FlowRepositoryInterface repository,
        FlowParsingService parsing,
        ModelValidator validator,
        GraphService graphs,
        FlowTopologyService topologies,
        FlowTopologyRepositoryInterface topologyRepository,
        Dialect dialect
    ) {
        this.service = service;
        this.repository = repository;
        this.parsing = parsing;
        this.validator = validator;
        this.graphs = graphs;
        this.topologies = topologies;
        this.topologyRepository = topologyRepository;
        this.dialect = dialect;
    }

    @Post
    @Consumes(YAML)
    FlowWithSource create(@Body String source, @QueryValue(defaultValue = "false") boolean draft) throws Exception {
        return service.create(parse(source, draft));
    }

    /** A missing flow is told before the source is looked at (observed). */
    @Put("/{namespace}/{id}")
    @Consumes(YAML)
    FlowWithSource update(String namespace, String id, @Body String source, @QueryValue(defaultValue = "false") boolean draft) throws Exception {
        FlowWithSource previous = find(namespace, id, null, false);
        return service.update(parse(source, draft), previous);
    }

    /** Drafts came with 2.0; 1.3 knows no such parameter. */
    private GenericFlow parse(String source, boolean draft) {
        return GenericFlow.fromYaml(Tenant.MAIN, source).toBuilder().draft(draft && !dialect.isOld()).build();
    }

    @Get("/{namespace}/{id}")
    FlowInterface get(
        String namespace,
        String id,
        @QueryValue(defaultValue = "false") boolean source,
        @Nullable @QueryValue Integer revision,
        @QueryValue(defaultValue = "false") boolean allowDeleted
    ) {
        if (source) {
            return find(namespace, id, revision, allowDeleted);
        }
        return repository.findById(Tenant.MAIN, namespace, id, Optional.ofNullable(revision), allowDeleted)
            .orElseThrow(() -> missing(namespace, id));
    }

    @Delete("/{namespace}/{id}")
    @Consumes(MediaType.ALL)
    @Status(HttpStatus.NO_CONTENT)
    void delete(String namespace, String id) {
        service.delete(find(namespace, id, null, false));
    }

    @Get("/{namespace}/{id}/revisions")
    List<FlowWithSource> revisions(String namespace, String id, @QueryValue(defaultValue = "true") boolean allowDelete) {
        return repository.findRevisions(Tenant.MAIN, namespace, id, allowDelete);
    }

    /** Revisions cannot be brought back; with the last one the flow is deleted. */
    @Delete("/{namespace}/{id}/revisions")
    @Consumes(MediaType.ALL)
    @Status(HttpStatus.NO_CONTENT)
    void deleteRevisions(String namespace, String id, @QueryValue List<Integer> revisions) {
        find(namespace, id, null, true);
        repository.deleteRevisions(Tenant.MAIN, namespace, id, revisions);
    }

    @Get("/{namespace}/{id}/tasks/{taskId}")
    Task task(String namespace, String id, String taskId, @Nullable @QueryValue Integer revision) throws InternalException {
        return find(namespace, id, revision, false).findTaskByTaskId(taskId);
    }

    @Get("/{namespace}/{id}/graph")
    FlowGraph graph(String namespace, String id, @Nullable @QueryValue Integer revision, @Nullable @QueryValue List<String> subflows) throws Exception {
        return graphs.flowGraph(find(namespace, id, revision, false), subflows);
    }

    @Post("/graph")
    @Consumes(YAML)
    FlowGraph graphOfSource(@Body String source, @Nullable @QueryValue List<String> subflows) throws Exception {
        return graphs.flowGraph(parsing.parse(Tenant.MAIN, source, false), subflows);
    }

    @Get("/{namespace}/{id}/dependencies")
    FlowTopologyGraph dependencies(String namespace, String id, @QueryValue(defaultValue = "false") boolean destinationOnly) {
        return topologies.graph(topologyRepository.findByFlow(Tenant.MAIN, namespace, id, destinationOnly).stream(), node -> node);
    }

    @Get("/{namespace}")
    List<Flow> list(String namespace) {
        return repository.findByNamespace(Tenant.MAIN, namespace);
    }

    @Get("/search")
    Results<Flow> search(HttpRequest<?> request) {
        Pageable page = Search.page(request, SORTABLE::get);
        return Results.of(repository.find(page, Tenant.MAIN, Search.filters(request, QueryFilter.Resource.FLOW)));
    }

    @Get("/distinct-namespaces")
    List<String> namespaces(@Nullable @QueryValue String q) {
        return repository.findDistinctNamespace(Tenant.MAIN, q);
    }

    /** A hit of 2.0; 1.x has the whole flow in it, and the lines in which the text was found as HTML. */
    @Introspected
    record Hit(String namespace, String id, boolean editable, List<SourceMatch> matches, Flow model, List<String> fragments) {
    }

    @Get("/source")
    Results<Hit> searchSource(
        HttpRequest<?> request,
        @Nullable @QueryValue String q,
        @Nullable @QueryValue String namespace,
        @QueryValue(defaultValue = "false") boolean caseSensitive,
        @QueryValue(defaultValue = "false") boolean wholeWord,
        @QueryValue(defaultValue = "false") boolean regex,
        @QueryValue(defaultValue = "ALL") SourceSearchScope scope
    ) {
        ArrayListTotal<SearchResult<Flow>> page = repository.findSourceCode(
            Search.page(request, SORTABLE::get), q, caseSensitive, wholeWord, regex, scope, Tenant.MAIN, namespace
        );
        return new Results<>(page.stream().map(this::hit).toList(), page.getTotal());
    }

    private Hit hit(SearchResult<Flow> result) {
        Flow flow = result.getModel();
        if (dialect.isOld()) {
            return new Hit(null, null, true, null, flow, result.getMatches().stream().map(SourceMatch::snippet).toList());
        }
        return new Hit(flow.getNamespace(), flow.getId(), result.isEditable(), result.getMatches(), null, null);
    }

    @Get(uri = "/export/by-query", produces = MediaType.APPLICATION_OCTET_STREAM)
    byte[] export(HttpRequest<?> request) throws IOException {
        return archive(matching(request));
    }

    @Post(uri = "/export/by-ids", produces = MediaType.APPLICATION_OCTET_STREAM)
    byte[] export(@Body List<Identifier> ids) throws IOException {
        return archive(ids.stream().map(this::find).toList());
    }

    /** One entry a flow, {@code <namespace>.<id>.yml}, its source byte for byte (observed). */
    private static byte[] archive(List<FlowWithSource> flows) throws IOException {
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(content)) {
            for (FlowWithSource flow : flows) {
                zip.putNextEntry(new ZipEntry(flow.getNamespace() + "." + flow.getId() + ".yml"));
                zip.write(flow.getSource().getBytes(StandardCharsets.UTF_8));
                zip.closeEntry();
            }
        }
        return content.toByteArray();
    }

    /** Documents are separated by a newline and {@code ---}; the answer is 200 even for invalid ones (observed). */
    @Post("/validate")
    @Consumes(YAML)
    List<ValidateConstraintViolation> validate(@Body String sources) {
        return service.validate(Tenant.MAIN, Arrays.stream(sources.split("\\n+---\\n*?")).map(source -> new FlowSource(null, source)).toList());
    }

    /** {@code section} is TASKS or TRIGGERS. As for flows, the answer is 200 even for what is invalid. */
    @Post("/validate/task")
    @Consumes({YAML, MediaType.APPLICATION_JSON})
    ValidateConstraintViolation validatePart(@Body String source, @QueryValue Section section) {
        return violation(source, section == Section.TASKS ? Task.class : AbstractTrigger.class);
    }

    @Post("/validate/trigger")
    ValidateConstraintViolation validateTrigger(@Body String source) {
        return violation(source, AbstractTrigger.class);
    }

    /** JSON is YAML too. */
    private ValidateConstraintViolation violation(String source, Class<?> type) {
        var result = ValidateConstraintViolation.builder();
        try {
            validator.validate(YamlParser.parse(source, type));
        } catch (ConstraintViolationException e) {
            result.constraints(e.getMessage());
        }
        return result.build();
    }

    /** Which part of a flow a source is for. */
    enum Section {
        TASKS, TRIGGERS
    }

    /** A flow's name, as the calls for several flows take it. */
    @Introspected
    record Identifier(String namespace, String id) {
    }

    /** How many flows a call for several of them changed. */
    @Introspected
    record Count(int count) {
    }

    /** Not atomic: flows before a missing one are gone when the answer is 404 (observed). */
    @Delete("/delete/by-ids")
    Count deleteByIds(@Body List<Identifier> ids) {
        ids.forEach(id -> service.delete(find(id)));
        return new Count(ids.size());
    }

    @Delete("/delete/by-query")
    @Consumes(MediaType.ALL)
    Count deleteByQuery(HttpRequest<?> request) {
        List<FlowWithSource> flows = matching(request);
        flows.forEach(service::delete);
        return new Count(flows.size());
    }

    @Post("/enable/by-ids")
    Count enable(@Body List<Identifier> ids) throws Exception {
        return setDisabled(ids.stream().map(this::find).toList(), false);
    }

    @Post("/disable/by-ids")
    Count disable(@Body List<Identifier> ids) throws Exception {
        return setDisabled(ids.stream().map(this::find).toList(), true);
    }

    @Post("/enable/by-query")
    @Consumes(MediaType.ALL)
    Count enable(HttpRequest<?> request) throws Exception {
        return setDisabled(matching(request), false);
    }

    @Post("/disable/by-query")
    @Consumes(MediaType.ALL)
    Count disable(HttpRequest<?> request) throws Exception {
        return setDisabled(matching(request), true);
    }

    /** Kestra writes it into the source, which makes a revision (observed). */
    private Count setDisabled(List<FlowWithSource> flows, boolean disabled) throws Exception {
        int count = 0;
        for (FlowWithSource flow : flows) {
            if (flow.isDisabled() != disabled) {
                service.update(GenericFlow.fromYaml(Tenant.MAIN, FlowService.injectDisabled(flow.getSource(), disabled)), flow);
                count++;
            }
        }
        return new Count(count);
    }

    private List<FlowWithSource> matching(HttpRequest<?> request) {
        return repository.findWithSource(Pageable.UNPAGED, Tenant.MAIN, Search.filters(request, QueryFilter.Resource.FLOW));
    }

    private FlowWithSource find(Identifier identifier) {
        return repository.findByIdWithSource(Tenant.MAIN, identifier.namespace(), identifier.id()).orElseThrow();
    }

    private FlowWithSource find(String namespace, String id, @Nullable Integer revision, boolean allowDeleted) {
        return repository.findByIdWithSource(Tenant.MAIN, namespace, id, Optional.ofNullable(revision), allowDeleted)
            .orElseThrow(() -> missing(namespace, id));
    }

    private static NoSuchElementException missing(String namespace, String id) {
        return new NoSuchElementException("Flow '" + id + "' is not found in namespace '" + namespace + "'.");
    }
}
