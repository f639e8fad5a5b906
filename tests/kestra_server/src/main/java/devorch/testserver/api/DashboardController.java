package devorch.testserver.api;

import io.kestra.core.exceptions.NotFoundException;
import io.kestra.core.models.dashboards.Dashboard;
import io.kestra.core.models.validations.ManualConstraintViolation;
import io.kestra.core.models.validations.ModelValidator;
import io.kestra.core.models.validations.ValidateConstraintViolation;
import io.kestra.core.serializers.YamlParser;
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

import jakarta.validation.ConstraintViolationException;

import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;

/**
 * Custom dashboards (kestrapy 2.0, {@code dashboards_api.py}; rules and messages after {@code DashboardControllerTest} of
 * Kestra 2.x). Parsing and validation are the engine's. The store is a stand-in: the engine's packages have no
 * repository of dashboards, so that they are in memory and gone after a restart. Charts are not computed.
 */
@Controller("/api/v1/" + Tenant.MAIN + "/dashboards")
@ExecuteOn(TaskExecutors.IO)
class DashboardController {
    private static final String YAML = "application/x-yaml";

    private final ModelValidator validator;
    private final Map<String, Stored> dashboards = new ConcurrentSkipListMap<>();

    DashboardController(ModelValidator validator) {
        this.validator = validator;
    }

    /** A dashboard without its charts, which no test reads. */
    @Introspected
    record Stored(String id, String title, @Nullable String description, Instant created, Instant updated, String sourceCode) {
    }

    @Get
    Results<Stored> search(HttpRequest<?> request, @Nullable @QueryValue String q) {
        Pageable page = Search.page(request, name -> name.equals("id") || name.equals("title") ? name : null);
        List<Stored> found = dashboards.values().stream().filter(each -> q == null || contains(each, q)).toList();
        int start = (int) Math.min(page.getOffset() - page.getSize(), found.size());
        return new Results<>(found.subList(start, Math.min(start + page.getSize(), found.size())), found.size());
    }

    @Get("/{id}")
    Stored get(String id) {
        return find(id);
    }

    @Post
    @Consumes(YAML)
    Stored create(@Body String source) {
        Dashboard dashboard = YamlParser.parse(source, Dashboard.class);
        if (dashboard.getId() == null) {
            throw new IllegalArgumentException("Dashboard id is mandatory");
        }
        validator.validate(dashboard);
        Instant now = Instant.now();
        if (dashboards.putIfAbsent(dashboard.getId(), stored(dashboard, now, now, source)) != null) {
            throw refusal(dashboard, "Dashboard id already exists");
        }
        return dashboards.get(dashboard.getId());
    }

    @Put("/{id}")
    @Consumes(YAML)
    Stored update(String id, @Body String source) {
        Stored before = find(id);
        Dashboard dashboard = YamlParser.parse(source, Dashboard.class);
        validator.validate(dashboard);
        if (!id.equals(dashboard.getId())) {
            throw refusal(dashboard, "Illegal dashboard id update");
        }
        Stored after = stored(dashboard, before.created(), Instant.now(), source);
        dashboards.put(id, after);
        return after;
    }

    @Delete("/{id}")
    @Consumes(MediaType.ALL)
    @Status(HttpStatus.NO_CONTENT)
    void delete(String id) {
        if (dashboards.remove(id) == null) {
            throw missing(id);
        }
    }

    /** The answer is 200 even for what is invalid. */
    @Post("/validate")
    @Consumes(YAML)
    ValidateConstraintViolation validate(@Body String source) {
        var result = ValidateConstraintViolation.builder();
        try {
            validator.validate(YamlParser.parse(source, Dashboard.class));
        } catch (ConstraintViolationException e) {
            result.constraints(e.getMessage());
        }
        return result.build();
    }

    private static Stored stored(Dashboard dashboard, Instant created, Instant updated, String source) {
        return new Stored(dashboard.getId(), dashboard.getTitle(), dashboard.getDescription(), created, updated, source);
    }

    private static boolean contains(Stored dashboard, String text) {
        return dashboard.title().toLowerCase(Locale.ROOT).contains(text.toLowerCase(Locale.ROOT));
    }

    private Stored find(String id) {
        Stored found = dashboards.get(id);
        if (found == null) {
            throw missing(id);
        }
        return found;
    }

    private static NotFoundException missing(String id) {
        return new NotFoundException("Dashboard '" + id + "' is not found");
    }

    private static ConstraintViolationException refusal(Dashboard dashboard, String message) {
        return ManualConstraintViolation.toConstraintViolationException(message, dashboard, Dashboard.class, "dashboard.id", dashboard.getId());
    }
}
