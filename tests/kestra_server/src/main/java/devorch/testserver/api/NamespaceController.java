package devorch.testserver.api;

import devorch.testserver.Dialect;

import io.kestra.core.exceptions.ConflictException;
import io.kestra.core.exceptions.InvalidQueryFiltersException;
import io.kestra.core.exceptions.NotFoundException;
import io.kestra.core.models.QueryFilter;
import io.kestra.core.models.namespaces.NamespaceInterface;
import io.kestra.core.repositories.FlowRepositoryInterface;
import io.kestra.core.repositories.KvMetadataRepositoryInterface;
import io.kestra.core.repositories.NamespaceFileMetadataRepositoryInterface;
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

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/**
 * Namespaces of the open-source edition, which keeps none: one exists because a flow, a key or a file is in it or below
 * it (kestrapy 2.0, {@code namespaces_api.py}). Those that the Enterprise edition keeps are a stand-in, written after
 * kestrapy's {@code namespaces_api.py} and its model {@code Namespace} alone; they are in memory and have no effect.
 */
@Controller("/api/v1/" + Tenant.MAIN + "/namespaces")
@ExecuteOn(TaskExecutors.IO)
class NamespaceController {
    private static final Pattern NAME = Pattern.compile("[a-z0-9][a-z0-9._-]*");
    private static final Set<String> PROPERTIES = Set.of(
        "id", "storageIsolation", "secretIsolation", "deleted", "description", "variables", "allowedNamespaces",
        "defaultWorkerSelector", "concurrency", "storageType", "storageConfiguration", "secretType", "secretReadOnly",
        "secretConfiguration", "workerSecretManagerMode", "outputsInInternalStorage", "sdkDefaultAuthentication", "quotas"
    );
    /** Of 1.3 alone. */
    private static final String DEFAULTS = "pluginDefaults";

    private final FlowRepositoryInterface flows;
    private final KvMetadataRepositoryInterface keys;
    private final NamespaceFileMetadataRepositoryInterface files;
    private final Dialect dialect;
    private final Map<String, Map<String, Object>> managed = new ConcurrentHashMap<>();

    NamespaceController(
        FlowRepositoryInterface flows,
        KvMetadataRepositoryInterface keys,
        NamespaceFileMetadataRepositoryInterface files,
        Dialect dialect
    ) {
        this.flows = flows;
        this.keys = keys;
        this.files = files;
        this.dialect = dialect;
    }

    /**
     * What a person has typed.
     *
     * @param ids namespaces that are in the answer whether they match or not
     */
    @Introspected
    record Autocomplete(@Nullable String q, @Nullable List<String> ids, @Nullable Boolean existingOnly) {
    }

    /**
     * A namespace; none is ever deleted in this edition.
     *
     * @param deleted demanded by the client's model
     */
    @Introspected
    record Namespace(String id, boolean deleted) {
    }

    @Get("/search")
    Results<Namespace> search(HttpRequest<?> request, @QueryValue(defaultValue = "false") boolean existing) {
        Pageable page = Search.page(request, name -> name.equals("id") ? name : null);
        List<String> found = names(existing).stream().filter(filter(request)).toList();
        int start = (int) Math.min(page.getOffset() - page.getSize(), found.size());
        int end = Math.min(start + page.getSize(), found.size());
        return new Results<>(found.subList(start, end).stream().map(NamespaceController::namespace).toList(), found.size());
    }

    /** There is none that does not exist (observed), but in the Enterprise edition. */
    @Get("/{id}")
    Object get(HttpRequest<?> request, String id) {
        return Edition.isEnterprise(request) ? find(id) : namespace(id);
    }

    @Post
    Map<String, Object> create(HttpRequest<?> request, @Body Map<String, Object> body) {
        forEnterprise(request);
        Map<String, Object> namespace = checked(body);
        if (managed.putIfAbsent((String) namespace.get("id"), namespace) != null) {
            throw new ConflictException("Namespace already exists");
        }
        return namespace;
    }

    /** What the body leaves out is removed. */
    @Put("/{id}")
    Map<String, Object> update(HttpRequest<?> request, String id, @Body Map<String, Object> body) {
        forEnterprise(request);
        find(id);
        Map<String, Object> namespace = checked(body);
        if (!id.equals(namespace.get("id"))) {
            throw new IllegalArgumentException("Illegal namespace id update");
        }
        managed.put(id, namespace);
        return namespace;
    }

    @Delete("/{id}")
    @Consumes(MediaType.ALL)
    @Status(HttpStatus.NO_CONTENT)
    void delete(HttpRequest<?> request, String id) {
        forEnterprise(request);
        find(id);
        managed.remove(id);
    }

    private static void forEnterprise(HttpRequest<?> request) {
        if (!Edition.isEnterprise(request)) {
            throw new NotFoundException("Page Not Found");
        }
    }

    private Map<String, Object> find(String id) {
        Map<String, Object> found = managed.get(id);
        if (found == null) {
            throw new NotFoundException("Namespace '" + id + "' is not found");
        }
        return found;
    }

    private Map<String, Object> checked(Map<String, Object> body) {
        List<String> unknown = body.keySet().stream().filter(name -> !PROPERTIES.contains(name) && !(dialect.isOld() && name.equals(DEFAULTS))).toList();
        if (!unknown.isEmpty()) {
            throw new IllegalArgumentException("Unrecognized field " + unknown);
        }
        if (!(body.get("id") instanceof String id) || !NAME.matcher(id).matches()) {
            throw new IllegalArgumentException("id: must match " + NAME);
        }
        Map<String, Object> namespace = new TreeMap<>(body);
        namespace.values().removeIf(Objects::isNull);
        namespace.put("deleted", false);
        return namespace;
    }

    @Post("/autocomplete")
    List<String> autocomplete(@Body Autocomplete request) {
        Set<String> found = new TreeSet<>(request.ids() == null ? List.of() : request.ids());
        names(Boolean.TRUE.equals(request.existingOnly())).stream().filter(contains(request.q())).forEach(found::add);
        return List.copyOf(found);
    }

    /** Those with something in them, and unless {@code existing} those above them. */
    private Set<String> names(boolean existing) {
        Set<String> found = new TreeSet<>(flows.findDistinctNamespace(Tenant.MAIN));
        found.addAll(keys.findDistinctNamespace(Tenant.MAIN));
        found.addAll(files.findDistinctNamespace(Tenant.MAIN));
        if (!existing) {
            List.copyOf(found).forEach(name -> found.addAll(NamespaceInterface.asTree(name)));
        }
        return found;
    }

    private static Predicate<String> filter(HttpRequest<?> request) {
        Predicate<String> all = contains(request.getParameters().get("q"));
        for (QueryFilter filter : Search.filters(request, QueryFilter.Resource.NAMESPACE)) {
            if (filter.field() != QueryFilter.Field.QUERY || filter.operation() != QueryFilter.Op.EQUALS) {
                throw new InvalidQueryFiltersException("The test server searches namespaces by q alone");
            }
            all = all.and(contains(String.valueOf(filter.value())));
        }
        return all;
    }

    private static Predicate<String> contains(@Nullable String text) {
        return name -> text == null || name.toLowerCase(Locale.ROOT).contains(text.toLowerCase(Locale.ROOT));
    }

    private static Namespace namespace(String id) {
        return new Namespace(id, false);
    }
}
